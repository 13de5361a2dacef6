"""An edit that is there already is told from a SEARCH that is wrong (point 5)."""

from __future__ import annotations

import pytest
from hardening import NAME, block, changed, edit, fenced, refused

from agent_runner.edits import apply_reply

ALREADY = [
    ("a value", "lr = 0.2\nb = 1\n", "lr = 0.1\n", "lr = 0.2\n", 1),
    (
        "lines around it",
        "a = 1\nlr = 0.2\nb = 1\n",
        "a = 1\nlr = 0.1\nb = 1\n",
        "a = 1\nlr = 0.2\nb = 1\n",
        1,
    ),
    ("an insertion below", "z = 0\na = 1\nb = 2\nc = 3\n", "a = 1\n", "a = 1\nb = 2\n", 2),
    ("an insertion above", "z = 0\na = 1\nb = 2\nc = 3\n", "b = 2\n", "a = 1\nb = 2\n", 2),
    (
        "an insertion between",
        "a = 1\nnew = 2\nb = 3\n",
        "a = 1\nb = 3\n",
        "a = 1\nnew = 2\nb = 3\n",
        1,
    ),
    (
        "an insertion, dedented",
        "if q:\n    a = 1\n    b = 2\n    c = 3\n",
        "a = 1\n",
        "a = 1\nb = 2\n",
        2,
    ),
]


@pytest.mark.parametrize(
    ("text", "search", "replace", "line"), [c[1:] for c in ALREADY], ids=[c[0] for c in ALREADY]
)
def test_an_edit_that_is_there_is_a_noop_and_says_where(
    text: str, search: str, replace: str, line: int
) -> None:
    outcome = refused(edit(search, replace), text, "noop")
    assert outcome.problems[0].line == line
    assert f"line {line}" in outcome.message


NOT_ALREADY = [
    ("a mistyped line beside it", "rate = 0.1\nlr = 0.2\n", "rat = 0.1\n", "lr = 0.2\n"),
    ("a deletion with a mistyped line", "a = 1\nb = 22\nc = 3\n", "a = 1\nb = 2\n", "a = 1\n"),
    ("a deletion above", "b = 22\na = 1\nc = 3\n", "b = 2\na = 1\n", "a = 1\n"),
    ("half of a deletion", "x2 = 5\nlast = 1\n", "x2 = 4\nlast = 0\n", "x2 = 5\n"),
    ("a bracket", "f(\n)\n", "))\n", ")\n"),
    ("pass", "def f():\n    pass\n", "    do()\n", "    pass\n"),
]


@pytest.mark.parametrize(
    ("text", "search", "replace"), [c[1:] for c in NOT_ALREADY], ids=[c[0] for c in NOT_ALREADY]
)
def test_a_mistyped_search_is_never_taken_for_done(text: str, search: str, replace: str) -> None:
    refused(edit(search, replace), text, "no_match")
    # Beside a block that works, `noop` would be passed over: the edit would be lost in silence.
    both = fenced(block("end = 1\n", "end = 2\n"), block(search, replace))
    refused(both, text + "end = 1\n", "no_match")


def test_a_deletion_is_made_although_its_rest_stands_elsewhere() -> None:
    text = "a = 1\nb = 2\n\nc = 3\na = 1\n"
    assert changed(edit("a = 1\nb = 2\n", "a = 1\n"), text) == "a = 1\n\nc = 3\na = 1\n"


def test_a_new_blank_line_is_made_beside_another() -> None:
    assert changed(edit("a\n", "a\n\nb\n"), "a\n\nc\n") == "a\n\nb\n\nc\n"


def test_search_equal_to_replace_is_left_out_and_is_a_noop_alone() -> None:
    same = block("a\n", "a\n")
    assert changed(fenced(same, block("b\n", "c\n")), "a\nb\n") == "a\nc\n"
    refused(fenced(same), "a\nb\n", "noop")


def test_a_noop_beside_a_working_block_is_never_passed_over_in_silence() -> None:
    reply = fenced(block("lr = 0.1\n", "lr = 0.2\n"), block("b = 1\n", "b = 2\n"))
    outcome = apply_reply(reply, {NAME: "lr = 0.2\nb = 1\n"})
    assert "block 1" in outcome.message and "already" in outcome.message
    assert outcome.files == ({NAME: "lr = 0.2\nb = 2\n"} if outcome.applied else {})
    assert outcome.kind == (None if outcome.applied else "noop")
