"""A true edit in any legal style equals the direct change; anything else changes nothing and says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from edit_replies import refusal
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runner.edits import apply_reply, apply_to_directory

SETTINGS = settings(max_examples=200, deadline=None)

WORD = st.sampled_from(
    [
        "alpha",
        "beta = 1",
        "if gamma:",
        "return x",
        "}",
        "# note",
        "é = 'ß'",
        "=== =",
        "<<<",
        "x" * 90,
        "",
    ]
)
INDENT = st.sampled_from(["", "  ", "    ", "        ", "\t"])
LINE = st.builds(lambda indent, word: indent + word if word else "", INDENT, WORD)
LINES = st.lists(LINE, min_size=1, max_size=25)
NAME = "notes.txt"


@st.composite
def styles(draw: st.DrawFn) -> dict[str, str]:
    length = draw(st.integers(5, 9))
    return {
        "marks": str(length),
        "heading": draw(
            st.sampled_from(
                [
                    "{}",
                    "**{}**",
                    "`{}`",
                    "### {}",
                    "- `{}`:",
                    "1. **{}**",
                    "File: {}",
                    "Edit `{}`:",
                    "[{}]({})",
                ]
            )
        ),
        "fence": draw(st.sampled_from(["```text", "~~~", "`````", ""])),
        "prose": draw(st.sampled_from(["", "Some words.\n\n", "```bash\npython x.py\n```\n\n"])),
        "case": draw(st.sampled_from(["SEARCH REPLACE", "search replace", "SEARCH> REPLACE>"])),
        "ending": draw(st.sampled_from(["\n", "\r\n"])),
    }


def render(style: dict[str, str], search: list[str], replace: list[str]) -> str:
    length, (head, tail) = int(style["marks"]), style["case"].split(" ")
    fence = style["fence"]
    lines = [style["prose"] + style["heading"].format(NAME, NAME)]
    lines += [fence] if fence else []
    lines += [f"{'<' * length} {head}", *search, "=" * length, *replace, f"{'>' * length} {tail}"]
    lines += [fence.removesuffix("text")] if fence else []
    return ("\n".join(lines) + "\n").replace("\n", style["ending"])


@st.composite
def true_edits(draw: st.DrawFn) -> tuple[str, str, list[str], list[str]]:
    """(text before, text after, SEARCH, REPLACE) with SEARCH in exactly one place, made unlike all others."""
    lines = draw(LINES)
    start = draw(st.integers(0, len(lines) - 1))
    count = draw(st.integers(1, min(6, len(lines) - start)))
    lines[start] = draw(INDENT) + "the one place"
    new = draw(st.lists(LINE, max_size=8).filter(lambda new: "..." not in new))
    search = lines[start : start + count]
    if new == search:
        new = [*new, "changed"]
    ending, last = draw(st.sampled_from(["\n", "\r\n"])), draw(st.booleans())
    if len(lines) == 1 and not last:
        ending = "\n"  # nothing in the file shows another
    bom = draw(st.sampled_from(["", "\ufeff"]))
    after = [*lines[:start], *new, *lines[start + count :]]

    def text(content: list[str]) -> str:
        closing = ending if last and content else ""
        return bom + ending.join(content) + closing

    if not last and (lines[-1] == "" or (after and after[-1] == "")):
        last = True  # a blank line without an ending is no line
    return text(lines), text(after), search, new


@SETTINGS
@given(true_edits(), styles())
def test_a_true_edit_equals_the_direct_change(
    edit: tuple[str, str, list[str], list[str]], style: dict[str, str]
) -> None:
    before, after, search, new = edit
    outcome = apply_reply(render(style, search, new), {NAME: before})
    if outcome.kind == "noop":  # the new lines stand around the place already
        assert outcome.problems[0].message.startswith("already applied")
        return
    assert outcome.applied, outcome.message
    assert outcome.blocks[0].tier == "exact"
    assert outcome.files[NAME] == after


@SETTINGS
@given(true_edits(), st.sampled_from(["    ", "        ", "\t"]))
def test_a_dedented_edit_equals_the_direct_change_or_is_refused(
    edit: tuple[str, str, list[str], list[str]], prefix: str
) -> None:
    before, after, search, new = edit
    # Where tabs and spaces are mixed, new lines are converted: here the edit is in the file's own kind.
    old, kind = ("  ", "\t") if prefix == "\t" else ("\t", "    ")
    before, after = (text.replace(old, kind) for text in (before, after))
    search, new = ([line.replace(old, kind) for line in lines] for lines in (search, new))
    deeper = ["outer:"] + [
        prefix + line if line else "" for line in before.removeprefix("\ufeff").split("\n")
    ]
    outcome = apply_reply(render(PLAIN, search, new), {NAME: "\n".join(deeper)})
    if outcome.applied and outcome.blocks[0].tier == "indentation":
        expected = ["outer:"] + [prefix + line for line in after.removeprefix("\ufeff").split("\n")]
        found = outcome.files[NAME].split("\n")
        assert [line.rstrip() for line in found if line.strip()] == [
            line.rstrip() for line in expected if line.strip()
        ]


PLAIN = {
    "marks": "7",
    "heading": "{}",
    "fence": "```text",
    "prose": "",
    "case": "SEARCH REPLACE",
    "ending": "\n",
}


@SETTINGS
@given(true_edits(), st.data())
def test_a_changed_character_in_search_never_applies(
    edit: tuple[str, str, list[str], list[str]], data: st.DataObject
) -> None:
    before, _, search, new = edit
    index = data.draw(st.sampled_from([i for i, line in enumerate(search) if line.strip()]))
    position = data.draw(st.integers(0, len(search[index])))
    search[index] = search[index][:position] + "¤" + search[index][position:]
    outcome = apply_reply(render(PLAIN, search, new), {NAME: before})
    assert refusal(outcome).kind in ("no_match", "noop")


@SETTINGS
@given(true_edits(), st.integers(0, 400))
def test_a_reply_cut_anywhere_never_applies_in_part(
    edit: tuple[str, str, list[str], list[str]], cut: int
) -> None:
    before, after, search, new = edit
    reply = render(PLAIN, search, new)
    outcome = apply_reply(reply[:cut], {NAME: before})
    assert not outcome.applied or outcome.files == {NAME: after}


@SETTINGS
@given(true_edits())
def test_applying_twice_is_never_doing_twice(
    edit: tuple[str, str, list[str], list[str]],
) -> None:
    before, _, search, new = edit
    reply = render(PLAIN, search, new)
    once = apply_reply(reply + reply, {NAME: before})
    if once.applied:
        assert once.files == apply_reply(reply, {NAME: before}).files


GARBAGE = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE", "<<<<< SEARCH", ">>>>>>>>> "
                "REPLACE", "```", "```py",
                "~~~", "notes.txt", "...", "", "alpha", "  <<<<<<< SEARCH", "  =======", "  >>>>>>> REPLACE",
                "<<<<<<< HEAD", "../x", "# ... rest of code ...", "1 | alpha", "\ud800", "\x00", "[", "(" * 300,
            ]
        ),
        st.text(max_size=30),
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(GARBAGE, st.text(max_size=60), st.booleans())
def test_garbage_raises_nothing_and_changes_nothing_in_silence(
    lines: list[str], text: str, named: bool
) -> None:
    files = {"notes.txt": "alpha\nbeta\nalpha\n" + text, "m.py": "x = 1\n"}
    outcome = apply_reply("\n".join(lines), files, ["notes.txt"] if named else None)
    json.loads(outcome.model_dump_json())
    if outcome.applied:
        assert any(done.tier for done in outcome.blocks) and outcome.diff and outcome.files
    else:
        assert (
            outcome.problems
            and outcome.files == {}
            and outcome.message.startswith("Nothing was changed")
        )


def test_garbage_leaves_a_folder_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"alpha\n")

    @settings(max_examples=100, deadline=None)
    @given(GARBAGE)
    def check(lines: list[str]) -> None:
        (tmp_path / "notes.txt").write_bytes(b"alpha\n")
        outcome = apply_to_directory("\n".join(lines), tmp_path)
        assert os.listdir(tmp_path) == ["notes.txt"]
        assert outcome.applied or (tmp_path / "notes.txt").read_bytes() == b"alpha\n"

    check()


ROOT = Path(__file__).resolve().parents[2]
DETERMINISM = """
import sys
from agent_runner.edits import apply_reply
files = {f"f{n}.txt": f"only {n}\\nshared\\n" for n in range(9)}
block = "{}```\\n<<<<<<< SEARCH\\n{}\\n=======\\nnew\\n>>>>>>> REPLACE\\n```\\n"
for reply in (block.format("", "only 4"), block.format("", "shared"), block.format("f1.txt\\n", "onli 1"),
              block.format("f1.txt\\n", "only 5"), block.format("In f1.txt and f2.txt:\\n", "only 2")):
    sys.stdout.write(apply_reply(reply, files).model_dump_json() + "\\n")
"""


def test_the_same_reply_gives_the_same_outcome_in_every_process() -> None:
    outputs = set()
    for seed in ("0", "1", "12345"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", DETERMINISM]
        outputs.add(
            subprocess.run(command, env=environment, check=True, capture_output=True).stdout
        )
    assert len(outputs) == 1 and outputs.pop().count(b"\n") == 5
