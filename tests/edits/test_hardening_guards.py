"""All or none, guards, messages (points 4, 5 and 6)."""

from __future__ import annotations

import json

import pytest
from hardening import NAME, applied, block, changed, edit, fenced, refused

from agent_runner.edits import apply_reply

BODY = "def f(a):\n    x = 1\n    return x\n\n\ndef g(a):\n    return a\n"


@pytest.mark.parametrize(
    "line",
    [
        "# rest of the code unchanged",
        "# ... rest of code ...",
        "# ... rest of the code remains the same ...",
        "# rest of the code remains the same",
        "# Rest of the function stays the same",
        "# rest of the implementation...",
        "# ... existing code ...",
        "# ...existing code...",
        "# existing code",
        "# existing code here",
        "# (rest of the method unchanged)",
        "# remaining code unchanged",
        "# Remaining methods unchanged",
        "# [rest of the code]",
        "# ...",
        "# … rest of the code",
        "# Keep the rest of the code the same",
        "# the rest of the file is unchanged",
        "# previous code remains unchanged",
        "// ... existing code ...",
        "/* rest of the code unchanged */",
        "...",
        "... rest of code ...",
        "<!-- rest of the file unchanged -->",
    ],
)
@pytest.mark.parametrize("indent", ["", "    "])
def test_a_placeholder_for_code_is_refused(line: str, indent: str) -> None:
    reply = edit(BODY, f"def f(a):\n    x = 2\n{indent}{line}\n")
    outcome = refused(reply, BODY, "malformed")
    assert line.strip()[:20] in outcome.message
    assert outcome.problems[0].block == 1


@pytest.mark.parametrize(
    "line",
    [
        "# the rest of the features stay zero",
        "# zero the rest of the row",
        "# the same code book for every layer",
        "# keep the existing optimizer state when a feature is resampled",
        "# other features are left alone",
        "# the remaining budget, in tokens",
        "# use the previous loss as the reference",
        "# sum over the last axis: x[..., k]",
        "# same shape as the input",
        "# The rest of the function handles dead features.",
        "# unchanged features keep their norm",
        "# rest",
        "# existing checkpoints are not overwritten",
        "# original paper: 0.1",
        "y = x[..., 0]",
        'print("...")',
        'print("rest of the code unchanged")',
    ],
)
def test_a_real_comment_is_no_placeholder(line: str) -> None:
    text = "def f(x):\n    return x\n"
    new = f"def f(x):\n    {line}\n    return x\n"
    assert changed(edit(text, new), text) == new


@pytest.mark.parametrize(
    "stub",
    [
        "class P(Protocol):\n    def f(self) -> int: ...\n",
        "def f() -> int:\n    ...\n",
        'def f() -> int:\n    """Doc."""\n    ...\n',
        "class E(Exception):\n    ...\n",
    ],
)
def test_a_stub_body_is_no_placeholder(stub: str) -> None:
    assert changed(edit("a = 1\n", stub), "a = 1\n") == stub


def test_a_placeholder_that_stands_in_the_file_is_text() -> None:
    text = "# rest of the code unchanged\na = 1\n"
    reply = edit(text, text.replace("1", "2"))
    assert changed(reply, text) == text.replace("1", "2")


def test_python_that_parsed_must_parse_after() -> None:
    outcome = refused(edit("    x = 1\n", "    x = (1\n"), BODY, "malformed")
    assert "line 2" in outcome.message or "line 3" in outcome.message
    assert outcome.problems[0].path == NAME
    refused(edit("", "def f(:\n", name="new.py"), {NAME: BODY}, "malformed", [NAME, "new.py"])


def test_python_that_did_not_parse_before_may_stay_so_and_other_files_are_not_parsed() -> None:
    broken = "def f(:\n    x = 1\n"
    assert changed(edit("    x = 1\n", "    x = 2\n"), broken) == broken.replace("1", "2")
    reply = edit("x = 1\n", "x = (\n", name="a.txt")
    assert applied(reply, {"a.txt": "x = 1\n"}) == {"a.txt": "x = (\n"}


def test_syntax_is_judged_after_all_blocks() -> None:
    reply = fenced(
        block("    x = 1\n", "    x = (1\n"), block("    return x\n", "    )\n    return x\n")
    )
    assert "x = (1" in changed(reply, BODY)


def test_a_syntax_error_is_not_made_up_from_half_of_a_reply() -> None:
    reply = fenced(block("    x = 1\n", "    x = (1\n"), block("    retrun x\n", "    )\n"))
    outcome = refused(reply, BODY, "no_match")
    assert [problem.block for problem in outcome.problems] == [2]


def test_all_or_none_over_blocks_and_files_and_every_failure_is_told() -> None:
    files = {NAME: BODY, "b.py": "k = 1\nk2 = 1\n"}
    reply = (
        fenced(block("    x = 1\n", "    x = 2\n"), block("    nowhere = 1\n", "    y = 1\n"))
        + fenced(block("k = 1\n", "k = 2\n"), block("q = 7\n", "q = 8\n"), name="b.py")
        + "<<<<<<< SEARCH\nopen\n"
    )
    outcome = refused(reply, files, "no_match")
    assert [problem.block for problem in outcome.problems] == [2, 4, 5]
    assert [problem.path for problem in outcome.problems][:2] == [NAME, "b.py"]
    head = outcome.message.splitlines()[0]
    assert "3 of 5" in head and "all or none" in head
    for number in (2, 4, 5):
        assert f"block {number}" in outcome.message


# ---------------------------------------------------------------- messages


def test_no_match_shows_the_first_line_that_differs_and_real_lines() -> None:
    text = "".join(f"line_{i} = {i}\n" for i in range(40))
    search = "".join(f"line_{i} = {i}\n" for i in range(10, 20)).replace(
        "line_17 = 17", "line_17 = 71"
    )
    outcome = refused(edit(search, "x\n"), text, "no_match")
    assert "line_17 = 17" in outcome.message and "line_17 = 71" in outcome.message
    assert "18" in outcome.message
    problem = outcome.problems[0]
    assert problem.line is not None and problem.nearest
    shown = [getattr(item, "text", item) for item in problem.nearest]
    assert "line_17 = 17" in shown


def test_white_space_is_made_visible_where_it_is_the_difference() -> None:
    outcome = refused(edit("a  =  1\n", "a = 2\n"), "z = 0\na = 1\n", "no_match")
    assert "·" in outcome.message
    outcome = refused(edit("a\t= 1\n", "a = 2\n"), "z = 0\na = 1\n", "no_match")
    assert "→" in outcome.message


@pytest.mark.parametrize("hidden", ["\u00a0", "\u200b", "\u2009"])
def test_invisible_characters_are_made_visible(hidden: str) -> None:
    outcome = refused(edit("value = 1\n", "value = 2\n"), f"z = 0\nvalue{hidden} = 1\n", "no_match")
    assert (
        hidden not in outcome.message.replace(f"value{hidden} = 1", "", 1)
        or "U+" in outcome.message
    )
    file_line = next(line for line in outcome.message.splitlines() if "file:" in line)
    ours = next(line for line in outcome.message.splitlines() if "SEARCH:" in line)
    assert file_line.split(":", 1)[1].replace(hidden, "") != ours.split(":", 1)[1].replace(
        hidden, ""
    )


def test_causes_are_told_apart() -> None:
    earlier = refused(
        fenced(block("    x = 1\n    return x\n", "    return 1\n"), block("    x = 1\n", "    x = 2\n")),
        BODY, "no_match",
    )  # fmt: skip
    assert earlier.problems[0].block == 2 and "block 1" in earlier.problems[0].message
    files = {NAME: "a = 1\n", "other.py": "in_other = 1\n"}
    assert "other.py" in refused(edit("in_other = 1\n", "x\n"), files, "no_match").message
    part = refused(edit("compute(a, b)\n", "compute(b)\n"), "x = compute(a, b)\n", "no_match")
    assert "part of" in part.message and part.problems[0].line == 1
    nowhere = refused(edit("zzz qqq\n", "x\n"), "a = 1\n", "no_match")
    assert not nowhere.problems[0].nearest


def test_the_block_that_changed_the_lines_is_the_one_that_is_named() -> None:
    reply = fenced(
        block("def g(a):\n    return a\n", "def g(b):\n    return b\n"),
        block("    x = 1\n", "    x = 2\n"),
        block("    x = 1\n    return x\n", "    return 3\n"),
    )
    outcome = refused(reply, BODY, "no_match")
    assert outcome.problems[0].block == 3
    assert "block 2" in outcome.problems[0].message and "block 1" not in outcome.problems[0].message


def test_ambiguous_tells_the_lines_and_is_bounded() -> None:
    text = "".join(f"def f{i}():\n    return None\n" for i in range(500))
    outcome = refused(edit("    return None\n", "    return 1\n"), text, "ambiguous")
    assert "500" in outcome.message and "2, 4, 6" in outcome.message.replace("lines ", "")
    assert tuple(outcome.problems[0].lines)[:3] == (2, 4, 6)
    assert len(outcome.message) < 5000


def test_messages_are_bounded() -> None:
    long = "x" * 100_000
    text = "\n".join([long, "a = 1", long]) + "\n"
    blocks = [block(f"{long}{i}\na = {i}\n", "b\n") for i in range(2, 40)]
    outcome = refused(fenced(*blocks), text, "no_match")
    assert len(outcome.message) < 30_000
    many = {f"folder/{'n' * 100}{i}.py": "" for i in range(500)}
    outcome = refused(edit("a\n", "b\n", name="/x.py"), many, "path_forbidden")
    assert len(outcome.message) < 10_000
    outcome = refused(edit("a\n", "b\n", name="../" + "y" * 50_000 + ".py"), many, "path_forbidden")
    assert len(outcome.message) < 10_000


def test_no_edits_shows_the_form() -> None:
    message = refused("I would raise the rate.", BODY, "no_edits").message
    for marker in ("<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"):
        assert marker in message


def test_success_tells_where_and_how_and_gives_a_diff() -> None:
    outcome = apply_reply(edit("x = 1\nreturn x\n", "x = 2\nreturn x\n"), {NAME: BODY})
    assert outcome.applied
    assert (
        "block 1" in outcome.message and "indentation" in outcome.message and "2" in outcome.message
    )
    assert "-    x = 1\n" in outcome.diff and "+    x = 2\n" in outcome.diff
    assert f"a/{NAME}" in outcome.diff and f"b/{NAME}" in outcome.diff and "@@ -" in outcome.diff


def test_outcomes_become_json_whatever_the_reply_holds() -> None:
    for text in ("a = 1\n", "a = \udcff1\n", "\x00a\n"):
        for new in ("b\n", "\ud800\n", "\udcff\n", "\x00\n"):
            outcome = apply_reply(edit(text, new), {NAME: text})
            json.loads(outcome.model_dump_json())


@pytest.mark.parametrize(
    "replace",
    [
        "def f(a):\n    ...\n    return x\n",
        "def f(a):\n    x = 2\n    ...\n",
        "...\ndef g(a):\n    return 2\n",
        "for i in a:\n    ...\n    x = 2\n",
    ],
)
@pytest.mark.parametrize("stub", ["", "\n\nclass P(Protocol):\n    def f(self):\n        ...\n"])
def test_dots_for_code_are_refused_also_below_a_colon_and_beside_a_real_stub(
    replace: str, stub: str
) -> None:
    search = BODY.split("\n\n\n")[0] + "\n"
    refused(edit(search, replace), BODY + stub, "malformed")


def test_two_spellings_of_one_letter_are_told_apart() -> None:
    """Composed and decomposed letters look alike: showing both as they are would repair nothing."""
    outcome = refused(edit("e\u0301 = 1\n", "e\u0301 = 2\n"), "\u00e9 = 1\n", "no_match")
    assert "U+" in outcome.message


def test_a_missing_line_is_the_first_difference_and_not_the_line_before_it() -> None:
    text = "alpha = 1\nbeta = 2\ndelta = 4\nepsilon = 5\n"
    search = "alpha = 1\nbeta = 2\ngamma = 3\ndelta = 4\n"
    message = refused(edit(search, "x = 1\n"), text, "no_match").message
    shown = next(line for line in message.splitlines() if "SEARCH:" in line)
    assert "gamma = 3" in shown
    search = "alpha = 1\nzeta = 2\nbeta = 2\n"
    message = refused(edit(search, "x = 1\n"), text, "no_match").message
    assert "zeta = 2" in next(line for line in message.splitlines() if "SEARCH:" in line)
