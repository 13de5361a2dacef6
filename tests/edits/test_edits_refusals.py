"""Parsing faults, forbidden paths, guards, no-ops: each refused with a message that says how to mend it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from edit_replies import NAME, block, edited, new_text, refusal

from agent_runner.edits import apply_reply

GOOD = block("a = 1\n", "a = 2\n")
FILES = {NAME: "a = 1\nb = 1\n", "other.py": "z = 1\n"}


@pytest.mark.parametrize(
    ("reply", "kind", "says"),
    [
        ("no block at all\n```python\nx = 1\n```\n", "no_edits", "<<<<<<< SEARCH"),
        ("```bash\npython experiment.py --out_dir=run_1\n```\n", "no_edits", "SEARCH/REPLACE"),
        (GOOD.replace(">>>>>>> REPLACE\n", ""), "malformed", ">>>>>>> REPLACE"),
        (GOOD.replace("=======\n", ""), "malformed", "======="),
        (GOOD.replace("=======\n", "=======\nq\n=======\n"), "malformed", "<<<<<<<<< SEARCH"),
        (GOOD + ">>>>>>> REPLACE\n", "malformed", "never begun"),
        (GOOD + NAME + "\n```python\n", "malformed", "cut off"),
        (GOOD + "<<<<<<< SEA", "malformed", "cut off"),
        (GOOD.replace("SEARCH", "HEAD").replace("REPLACE", "main"), "malformed", "5 to 9"),
        (GOOD.replace("<<<<<<<", "<<<").replace(">>>>>>>", ">>>"), "malformed", "5 to 9"),
        (GOOD.replace(">>>>>>> REPLACE\n", "") + GOOD, "malformed", "before this block's"),
        (block("", "x\n"), "malformed", "SEARCH is empty"),
        (block("a = 1\n", "a = 2\n# ... rest of the code unchanged ...\n"), "malformed", "placeholder"),
        (block("a = 1\n", "a = (\n"), "malformed", "SyntaxError at line"),
        (block("a = 1\n", "return\n"), "malformed", "outside function"),
        (block("a = 1\n", "a = '\ud800'\n"), "malformed", "UTF-8"),
        (block("a = 1\n", "a = 1\n"), "noop", "the same"),
        (block("a = 0\n", "a = 1\n"), "noop", "line 1"),
        (block("a = 1\n", "a = 1\nb = 1\n"), "noop", "already applied, line 1"),
        (block("a = 1\n", "a = 2\n") + block("a = 2\n", "a = 1\n"), "noop", "as it is"),
        (block("q\n", "r\n", name=None), "malformed", "names no file"),
        (block("a = 1\n", "a = 2\n", fence="```python other.py"), "malformed", "Name the file once"),
    ],
)  # fmt: skip
def test_refused_with_the_way_out(reply: str, kind: str, says: str) -> None:
    outcome = apply_reply(reply, FILES)
    assert refusal(outcome).kind == kind
    assert says in outcome.message
    json.loads(outcome.model_dump_json())


@pytest.mark.parametrize(
    "name",
    ["../x.py", "a/../x.py", "/etc/passwd", "~/x.py", "$HOME/x.py", "C:\\x.py", ".git/config", "A/.GIT/x",
     "..\\x.py", "unknown.py", "sub/experiment.py", "experiment.pyx"],
)  # fmt: skip
def test_paths_that_cannot_be_edited(name: str) -> None:
    outcome = apply_reply(block("a = 1\n", "a = 2\n", name=name), FILES, [NAME])
    assert refusal(outcome).kind == "path_forbidden"
    assert "`experiment.py`" in outcome.message


def test_a_listed_path_that_leads_out_stays_forbidden() -> None:
    for name in ("../x.py", ".git/hooks/x.py"):
        outcome = apply_reply(block("", "x = 1\n", name=name), {}, [name])
        assert refusal(outcome).kind == "path_forbidden"


def test_an_unnamed_block_is_inferred_only_where_it_is_certain() -> None:
    unnamed = block("a = 1\n", "a = 2\n", name=None)
    assert new_text(apply_reply(unnamed, FILES)) == "a = 2\nb = 1\n"  # the only file that has it
    assert apply_reply(unnamed, FILES, [NAME]).applied  # the only editable one
    carried = block("b = 1\n", "b = 2\n") + unnamed
    assert new_text(apply_reply(carried, FILES)) == "a = 2\nb = 2\n"
    both = {NAME: "a = 1\n", "other.py": "a = 1\n"}
    assert refusal(apply_reply(unnamed, both)).kind == "malformed"
    prose = "In helper.py:\n\n" + block(" a = 1\n", " a = 2\n", name=None)
    assert refusal(apply_reply(prose, FILES, [NAME])).kind == "path_forbidden"


def test_a_shell_command_above_a_block_names_no_file() -> None:
    command = "```bash\npython other.py\n```\n"
    outcome = apply_reply(command + block("a = 1\n", "a = 2\n", name=None), FILES)
    assert list(outcome.files) == [NAME]


def test_every_failing_block_is_told_and_the_good_ones_are_not_applied() -> None:
    reply = GOOD + block("nowhere = 1\n", "x\n") + block("z = 1\n", "z = 2\n", name="other.py")
    reply += block("y\n", "x\n", name="/x.py") + "<<<<<<< SEARCH\n"
    outcome = apply_reply(reply, FILES)
    assert [(p.block, p.kind) for p in outcome.problems] == [
        (2, "no_match"),
        (4, "path_forbidden"),
        (5, "malformed"),
    ]
    assert outcome.message.startswith(
        "Nothing was changed: 3 of 5 blocks cannot be applied (all or none)."
    )


def test_causes() -> None:
    after = apply_reply(block("a = 1\nb = 1\n", "c = 1\n") + block("b = 1\n", "b = 2\n"), FILES)
    assert "until block 1 of this reply changed it" in after.message
    elsewhere = apply_reply(block("z = 1\n", "z = 2\n"), FILES)
    assert "`other.py`" in elsewhere.message
    needs = apply_reply(block("q\n", "new = 1\n") + block("new = 1\n", "new = 2\n"), FILES)
    assert "put in by block 1" in needs.message
    text = "value = 1\nname\u00a0= 2\n"
    hidden = edited(text, "value = 1\nname = 2\n", "x\n")
    assert "\\xa0" in hidden.message
    spaces = edited("x  =  1\ny = 2\n", "x = 1\ny = 2\n", "z\n")
    assert "|x··=··1" in spaces.message and "    1 |x  =  1" in spaces.message


def test_the_first_difference_is_shown_with_real_lines() -> None:
    text = "".join(f"def f{n}():\n    return {n}\n" for n in range(100))
    search = "".join(f"def f{n}():\n    return {n}\n" for n in range(40, 60)).replace(
        "return 55", "return 5"
    )
    problem = refusal(edited(text, search, "x\n"))
    assert problem.line == 112
    assert "first difference at line 112" in problem.message
    assert "  file:   |    return 55\n  SEARCH: |    return 5\n" in problem.message
    assert len(problem.nearest) == 12 and 112 in problem.lines


def test_messages_are_bounded() -> None:
    text = "".join(f"line number {n} {'x' * 500}\n" for n in range(3000))
    blocks = [block(f"line number {n} {'y' * 500}\n" * 40, "z\n", name="n.txt") for n in range(300)]
    outcome = apply_reply("".join(blocks), {"n.txt": text})
    assert len(outcome.problems) == 300
    assert len(outcome.message) < 100_000
    assert all(len(problem.message) < 6_000 for problem in outcome.problems)


def test_success_says_what_was_done() -> None:
    outcome = apply_reply(GOOD + block("  b = 1\n", "  b = 2\n"), FILES)
    assert outcome.message.splitlines() == [
        "Applied 2 blocks to 1 file.",
        "block 1: experiment.py, line 1 (matched: exact)",
        "block 2: experiment.py, line 2 (matched: indentation)",
    ]
    assert [(done.block, done.path, done.tier, done.line) for done in outcome.blocks] == [
        (1, NAME, "exact", 1),
        (2, NAME, "indentation", 2),
    ]


def test_nine_character_markers_carry_text_that_holds_blocks() -> None:
    inner = "<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n"
    reply = (
        f"doc.md\n<<<<<<<<< SEARCH\n{inner}=========\n{inner.replace('b', 'c')}>>>>>>>>> REPLACE\n"
    )
    assert new_text(apply_reply(reply, {"doc.md": inner})) == inner.replace("b", "c")


@pytest.mark.parametrize("log", ["000", "001", "002", "003", "004"])
def test_the_recorded_replies_apply_to_the_template(seeds: Path, log: str) -> None:
    blocks = json.loads((seeds / "search_blocks.json").read_text(encoding="utf-8"))
    template = Path(__file__).resolve().parents[2] / "templates" / "experiment.py"
    files = {NAME: template.read_text(encoding="utf-8")}
    for one in blocks:
        if one["log"] == log:
            outcome = apply_reply(
                block(one["search"], one["replace"], name=one["fence_name"]), files
            )
            assert outcome.applied, outcome.message
            assert outcome.blocks[0].tier == "exact"


def test_a_long_path_is_a_path_and_never_passed_over() -> None:
    reply = block("a = 1\n", "a = 2\n", name="../" + "y" * 50_000 + ".py")
    outcome = apply_reply(reply, FILES, [NAME])
    assert refusal(outcome).kind == "path_forbidden"
    assert len(outcome.message) < 2_000
