"""Blocks in another depth or another unit than the file's (point 2)."""

from __future__ import annotations

import pytest
from hardening import NAME, changed, edit
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from agent_runner.edits import apply_reply


def test_one_unit_of_indentation_is_not_taken_for_another() -> None:
    """A line two columns off in a file of four is no level: what REPLACE adds must not land between levels."""
    text = "if a:\n    b = 1\n    c = 1\n"
    outcome = apply_reply(edit("  b = 1\n", "  if b:\n      b = 2\n"), {NAME: text})
    if outcome.applied:
        new = outcome.files[NAME]
        assert new == "if a:\n    if b:\n        b = 2\n    c = 1\n"


@pytest.mark.parametrize("width", [2, 3, 4, 8])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_a_shift_keeps_the_shape_of_new_lines(width: int, levels: int) -> None:
    pad = " " * width
    body = ["for i in r:", pad + "a(i)", pad + "if a:", pad * 2 + "b(i)"]
    new = [
        "for i in r:",
        pad + "a(i)",
        pad + "if a:",
        pad * 2 + "c(i)",
        pad * 2 + "d(i)",
        pad + "e(i)",
    ]
    outer = [pad * n + f"while w{n}:" for n in range(levels)]
    text = "\n".join(outer + [pad * levels + line for line in body]) + "\n"
    want = "\n".join(outer + [pad * levels + line for line in new]) + "\n"
    assert changed(edit("\n".join(body) + "\n", "\n".join(new) + "\n"), text) == want


def test_tabs_never_get_spaces_mixed_in_silently() -> None:
    text = "if a:\n\tb = 1\n\tc = 1\n"
    outcome = apply_reply(edit("b = 1\n", "if b:\n    b = 2\n"), {NAME: text})
    if outcome.applied:
        assert outcome.files[NAME] == "if a:\n\tif b:\n\t\tb = 2\n\tc = 1\n"


def test_mixed_tabs_and_spaces_are_kept_where_they_are() -> None:
    text = "a:\n\tb\n        c\n\t    d\ne\n"
    assert changed(
        edit("a:\n\tb\n        c\n\t    d\n", "a:\n\tb\n        c\n\t    D\n"), text
    ) == text.replace("d\n", "D\n")


def test_replace_that_is_already_in_the_files_indentation_is_not_moved_again() -> None:
    """SEARCH lost its indentation, REPLACE has it: no one shift is right for both."""
    text = "if a:\n    x = 1\n    y = 1\n"
    outcome = apply_reply(
        edit("x = 1\ny = 1\n", "    x = 2\n    y = 1\n", name="t.txt"), {"t.txt": text}
    )
    if outcome.applied:
        assert outcome.files["t.txt"] == text.replace("x = 1", "x = 2")


@st.composite
def nested(draw: st.DrawFn) -> tuple[list[tuple[int, str]], int, int, list[tuple[int, str]]]:
    """Lines with their levels, as code has them; a run of them; and what takes its place."""
    levels = [0]
    for _ in range(draw(st.integers(3, 14))):
        levels.append(draw(st.integers(0, levels[-1] + 1)))
    lines = [(level, f"line{index}") for index, level in enumerate(levels)]
    start = draw(st.integers(0, len(lines) - 1))
    stop = draw(st.integers(start + 1, min(len(lines), start + 6)))
    base = min(level for level, _ in lines[start:stop])
    new = list(lines[start:stop])
    for index in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(new)))
        above = new[at - 1][0] if at else base
        new.insert(at, (draw(st.integers(base, above + 1)), f"new{index}"))
    return lines, start, stop, new


UNITS = st.sampled_from(["  ", "    ", "\t"])


@settings(max_examples=500, deadline=None)
@given(nested(), UNITS, UNITS, st.integers(0, 3), st.booleans())
def test_another_unit_or_depth_lands_on_the_right_level_or_is_refused(
    case: tuple[list[tuple[int, str]], int, int, list[tuple[int, str]]],
    file_unit: str,
    reply_unit: str,
    depth: int,
    dedented: bool,
) -> None:
    lines, start, stop, new = case
    # A file without a nested line has no unit that an engine could know: the reply's own is then as good.
    assume(file_unit == reply_unit or any(level > 0 for level, _ in lines))
    base = min(level for level, _ in lines[start:stop])
    depth = depth if dedented else base

    def render(part: list[tuple[int, str]], unit: str, move: int = 0) -> str:
        return "".join(unit * (level + move) + text + "\n" for level, text in part)

    text = render(lines, file_unit)
    typed = render(lines[start:stop], reply_unit, depth - base)
    # What matches exactly is not re-indented: REPLACE then goes in as typed.
    assume(file_unit == reply_unit or typed != render(lines[start:stop], file_unit))
    reply = edit(
        typed,
        render(new, reply_unit, depth - base),
        name="t.txt",
    )
    outcome = apply_reply(reply, {"t.txt": text})
    if outcome.applied:
        assert outcome.files["t.txt"] == render([*lines[:start], *new, *lines[stop:]], file_unit)
    elif file_unit == reply_unit:
        pytest.fail(outcome.message)  # a plain shift is certain
