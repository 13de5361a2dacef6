"""Tracebacks that `rich` has drawn into a box, put into the form that Python prints."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent_runner.failures.raised import HEADER

_TOP = re.compile(r"^\s{0,40}╭─{1,300} Traceback \(most recent call last\) ─{1,300}╮$")
_BOTTOM = re.compile(r"^\s{0,40}╰─{1,400}╯$")
_SIDES = re.compile(r"^\s{0,40}│ ?(.{0,1000}?)\s{0,400}│$")
_PLACE = re.compile(r"^(\S.{0,4000}?):(\d{1,9}) in (\S.{0,200})$")
_FAILING = re.compile(r"^\s{0,4}❱ {0,8}\d{1,9} (.{0,1000})$")
_DRAWN = ("╭", "│", "╰")
_MAX_WRAPPED = 20  # lines of one place; a box may be narrow and a path long


def unboxed(text: str) -> str:
    """Return `text` with each such box as plain frames: place and failing line, without variables."""
    if "╭" not in text:
        return text
    lines: list[str] = []
    box: list[str] | None = None
    for line in text.split("\n"):
        if _TOP.match(line):
            if box is not None:  # the one before was never closed
                lines.extend(box)
            box = []
        elif box is None:
            lines.append(line)
        elif _BOTTOM.match(line):
            lines.extend([HEADER, *_frames(box)])
            box = None
        else:
            box.append(line)
    return "\n".join([*lines, *(box or [])])


def _frames(box: list[str]) -> Iterator[str]:
    """Yield a frame's two lines for each place in a box; a place ends with a blank line."""
    wrapped: list[str] = []
    for line in box:
        inside = _SIDES.match(line)
        said = inside[1] if inside else ""
        failing = _FAILING.match(said)
        if failing:
            yield f"    {failing[1].replace('│', ' ').strip()}"
        elif said.startswith(_DRAWN) or said[:1] in (" ", "❱"):
            wrapped.clear()
        elif said:
            wrapped.append(said)
        else:
            place = _place(wrapped[-_MAX_WRAPPED:])
            if place:
                yield f'  File "{place[1]}", line {place[2]}, in {place[3]}'
            wrapped.clear()


def _place(wrapped: list[str]) -> re.Match[str] | None:
    """Return a place that may be broken at a blank or, where it has none, anywhere."""
    return _PLACE.match("".join(wrapped)) or _PLACE.match(" ".join(wrapped)) if wrapped else None
