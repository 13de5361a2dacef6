"""What holds for any file and any reply (point 7): right edits are made, wrong replies do nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from hardening import NAME, block, fenced
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from agent_runner.edits import apply_reply

LINES = st.one_of(
    st.sampled_from(
        ["a = 1", "    a = 1", "\tb = 2", "", "  ", "}", "def f():", "# é", "x", "  x  "]
    ),
    # (A byte order mark belongs to the file, not to its first line: see test_edits_messages.)
    st.text(st.characters(exclude_characters="\n\r\ufeff", exclude_categories=["Cs"]), max_size=12),
)
ENDS = st.sampled_from(["\n", "\r\n", "mixed"])


@st.composite
def texts(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """A file's lines, and their ends; numbered lines keep most places unique."""
    count = draw(st.integers(1, 25))
    lines = []
    for index in range(count):
        line = draw(LINES)
        lines.append(line if draw(st.booleans()) else f"{line}#{index}")
    end = draw(ENDS)
    ends = [draw(st.sampled_from(["\n", "\r\n"])) if end == "mixed" else end for _ in range(count)]
    if draw(st.booleans()) and lines[-1]:
        ends[-1] = ""
    return lines, ends


def _is_text(line: str) -> bool:
    """Whether a line cannot be read as a marker, a divider, a placeholder or an elision."""
    bare = line.strip()
    return not any(
        sign in bare for sign in ("<<<", ">>>", "===", "---", "+++", "...", "…", "```", "~~~")
    )


def _occurrences(lines: list[str], part: list[str]) -> int:
    return sum(lines[i : i + len(part)] == part for i in range(len(lines) - len(part) + 1))


@st.composite
def edits(draw: st.DrawFn) -> tuple[str, list[tuple[list[str], list[str]]], str]:
    """A file, one or two true edits that do not touch, and the file after them, bytes and all."""
    lines, ends = draw(texts())
    assume(all(_is_text(line) for line in lines))
    first = draw(st.integers(0, len(lines) - 1))
    stop = draw(st.integers(first + 1, min(len(lines), first + 6)))
    search = lines[first:stop]
    assume(any(line.strip() for line in search) and _occurrences(lines, search) == 1)
    keep = draw(st.integers(0, len(search)))
    new = [f"new {draw(st.integers(0, 99))} {index}!" for index in range(draw(st.integers(1, 4)))]
    replace = [*search[:keep], *new, *search[draw(st.integers(keep, len(search))) :]]
    after: list[str] = []
    tail = len(replace) - keep - len(new)
    own_ends = [
        *ends[first : first + keep],
        *[None] * len(new),
        *(ends[stop - tail : stop] if tail else []),
    ]
    default = next((end for end in (*ends[first:stop], *ends) if end), "\n")
    for text, end in zip(replace, own_ends, strict=True):
        after.append(text + (default if end in (None, "") else end))
    open_end = stop == len(lines) and ends[-1] == ""
    if open_end:
        last = after[-1]
        after[-1] = last.removesuffix("\n").removesuffix("\r")
    before = [line + end for line, end in zip(lines, ends, strict=True)]
    whole = "".join([*before[:first], *after, *before[stop:]])
    return "".join(before), [(search, replace)], whole


def _body(lines: list[str]) -> str:
    return "".join(line + "\n" for line in lines)


STYLES = st.fixed_dictionaries(
    {
        "name": st.sampled_from(
            [NAME, f"**{NAME}**", f"`{NAME}`:", f"### {NAME}", f"- `{NAME}`", None]
        ),
        "fence": st.sampled_from(["```", "````", "~~~"]),
        "info": st.sampled_from(["", "python", "text"]),
    }
)


@settings(max_examples=300, deadline=None)
@given(edits(), STYLES, st.integers(5, 9), st.booleans())
def test_a_true_edit_in_any_legal_style_is_the_direct_application(
    case: tuple[str, list[tuple[list[str], list[str]]], str],
    style: dict[str, str],
    marks: int,
    crlf: bool,
) -> None:
    text, pairs, whole = case
    name = "experiment.txt"
    reply = fenced(*(block(_body(s), _body(r), marks) for s, r in pairs), **style)
    reply = reply.replace(NAME, name)
    outcome = apply_reply(reply.replace("\n", "\r\n") if crlf else reply, {name: text})
    assert outcome.applied, outcome.message
    new = outcome.files[name]
    # Which end a new line takes in a mixed file is a free choice: that it has one, and only one, is not.
    assert [line.removesuffix("\r") for line in new.split("\n")] == [
        line.removesuffix("\r") for line in whole.split("\n")
    ]
    if "\r\n" not in text or text.count("\r\n") == text.count("\n"):
        assert new == whole


@settings(max_examples=200, deadline=None)
@given(edits(), st.integers(1, 3), st.sampled_from([" ", "    ", "\t"]))
def test_a_true_edit_with_a_shifted_search_is_exact_or_refused(
    case: tuple[str, list[tuple[list[str], list[str]]], str], times: int, unit: str
) -> None:
    text, [(search, replace)], whole = case
    pad = unit * times

    def shift(lines: list[str]) -> list[str]:
        return [pad + line if line.strip() else line for line in lines]

    # Shifted it may be what another place says but for blanks at line ends, which is then what was quoted.
    quoted, lines = ([line.rstrip() for line in part] for part in (shift(search), text.split("\n")))
    size = len(quoted)
    assume(all(lines[at : at + size] != quoted for at in range(len(lines))))
    reply = fenced(
        block(_body(shift(search)), _body(shift(replace))), name="experiment.txt", fence="~~~~"
    )
    outcome = apply_reply(reply, {"experiment.txt": text})
    if not outcome.applied:
        assert not outcome.files
        return
    new = outcome.files["experiment.txt"]
    assert [line.rstrip(" \t\r") for line in new.split("\n")] == [
        line.rstrip(" \t\r") for line in whole.split("\n")
    ]


@settings(max_examples=150, deadline=None)
@given(edits())
def test_an_edit_sent_again_never_applies_twice(
    case: tuple[str, list[tuple[list[str], list[str]]], str],
) -> None:
    text, [(search, replace)], _whole = case
    bare, wanted = (
        [line.strip() for line in part if line.strip()] for part in (text.split("\n"), search)
    )
    assume(_occurrences(bare, wanted) == 1)  # else another place may be what a looser tier finds
    reply = fenced(block(_body(search), _body(replace)), name="experiment.txt", fence="~~~~")
    first = apply_reply(reply, {"experiment.txt": text})
    assert first.applied, first.message
    again = apply_reply(reply, first.files)
    assert not again.applied, again.diff


PIECES = st.sampled_from(
    ["<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE", "```python", "```", NAME, "../x.py", "...", "a = 1",
     "    a = 1", "b = 2", "", "<<<<< SEARCH", ">>>>>>>>> REPLACE", "=====", "12 | a = 1", "\ud800", "\x00",
     "# rest of the code", "<<<<<<< HEAD", "\ufeff", "\r"]
)  # fmt: skip
GARBAGE = st.one_of(st.text(max_size=300), st.lists(PIECES, max_size=25).map("\n".join))


def _checked(reply: str, files: dict[str, str]) -> None:
    outcome = apply_reply(reply, files)
    assert outcome.message
    if outcome.applied:
        assert outcome.kind is None and not outcome.problems and outcome.files
        assert all(files.get(name) != text for name, text in outcome.files.items())
    else:
        assert not outcome.files and outcome.diff == "" and outcome.problems
        assert outcome.kind == outcome.problems[0].kind


@settings(max_examples=400, deadline=None)
@given(GARBAGE, GARBAGE)
@example("<<<<<<< SEARCH\n  \n...\n=======\n  \n...\n>>>>>>> REPLACE\n", "a\n\nb\n")
@example("<<<<<<< SEARCH\n=======\n>>>>>>> REPLACE\n", "\n\n")
@example("<<<<<<< SEARCH\n```\n\n```\n=======\n>>>>>>> REPLACE\n", "\n\n")
@example("<<<<<<< SEARCH\n1 |\n2 |\n=======\nx\n>>>>>>> REPLACE\n", "a\n\n\nb\n")
def test_garbage_never_raises_and_changes_nothing_unless_applied(reply: str, text: str) -> None:
    _checked(reply, {NAME: text})
    _checked(reply, {NAME: text, "other.py": "a = 1\n"})
    _checked(reply, {})


@settings(max_examples=300, deadline=None)
@given(edits(), st.data())
def test_mutations_of_valid_replies_never_raise_and_change_nothing_unless_applied(
    case: tuple[str, list[tuple[list[str], list[str]]], str], data: st.DataObject
) -> None:
    text, [(search, replace)], _whole = case
    bare, wanted = (
        [line.strip() for line in part if line.strip()] for part in (text.split("\n"), search)
    )
    assume(_occurrences(bare, wanted) == 1)  # else another place may be what a looser tier finds
    reply = fenced(block(_body(search), _body(replace)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(reply)))
        size = data.draw(st.integers(0, 20))
        reply = reply[:at] + data.draw(st.one_of(st.just(""), PIECES)) + reply[at + size :]
    _checked(reply, {NAME: text})


@settings(max_examples=100, deadline=None)
@given(edits(), st.data())
def test_a_cut_reply_changes_nothing(
    case: tuple[str, list[tuple[list[str], list[str]]], str], data: st.DataObject
) -> None:
    text, [(search, replace)], _whole = case
    bare, wanted = (
        [line.strip() for line in part if line.strip()] for part in (text.split("\n"), search)
    )
    assume(_occurrences(bare, wanted) == 1)  # else another place may be what a looser tier finds
    reply = fenced(block(_body(search), _body(replace)))
    whole = reply.index(">>>>>>> REPLACE") + len(">>>>>>> REPLACE")
    cut = data.draw(st.integers(0, whole - 1))
    assert not apply_reply(reply[:cut], {NAME: text}).applied


_ACROSS = """
import json, sys
from agent_runner.edits import apply_reply
cases = json.load(sys.stdin)
print(json.dumps([apply_reply(r, f, e).model_dump(mode="json") for r, f, e in cases], sort_keys=True))
"""


def test_the_outcome_does_not_hang_on_the_hash_seed() -> None:
    names = [f"{letter}/x.py" for letter in "abcdefgh"] + ["one.py", "two.py"]
    files = {name: f"lr = 0.1\nname = '{name}'\n" for name in names}
    change = block("lr = 0.1\n", "lr = 0.2\n")
    replies = [
        fenced(change, name=None),
        fenced(change, name="x.py"),
        fenced(change, name="a/x.py"),
        fenced(block("name = 'b/x.py'\n", "name = 1\n"), name=None),
        fenced(block("name = 'c/x.py'\n", "name = 1\n"), name="one.py"),
        fenced(change, change, block("nowhere\n", "x\n"), name="In one.py and two.py:"),
        fenced(block("nmae = 'one.py'\nlr = 0.3\n", "x\n"), name="one.py"),
    ]
    cases = json.dumps(
        [[reply, files, editable] for reply in replies for editable in (None, names[2:])]
    )
    outputs = set()
    for seed in ("0", "1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", _ACROSS],
            input=cases, capture_output=True, text=True, check=True,
            cwd=Path(__file__).resolve().parents[2],
            env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        outputs.add(done.stdout)
    assert len(outputs) == 1 and len(json.loads(outputs.pop())) == len(replies) * 2
