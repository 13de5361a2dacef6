"""REPLACE in SEARCH's place, as a three-way merge: what a block leaves unchanged keeps the file's own bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from agent_runner.edits.places import Part

Piece = tuple[int, int] | str
Opcode = tuple[str, int, int, int, int]
_COMPARED = (
    250_000  # lines of SEARCH times lines of REPLACE; beyond that only common ends are found
)


@dataclass(frozen=True)
class _Line:
    text: str  # with its ending
    place: tuple[int, int] | None  # where it stands in the text, when it is the file's own


def merge(text: str, part: Part) -> tuple[int, list[Piece]]:
    """(start, pieces): what takes the place of text[start:part.end]: ranges of `text` that stay, and new text.

    `start` is the part's own, but where the last lines of a text without a last line feed go away: then
    the line before them loses its line feed, so that the text still ends without one.
    """
    region = _lines_with_endings(text, part.start, part.end)
    spans = part.spans or [(index, index + 1) for index in range(len(part.search))]
    loose = part.loose or [0] * len(part.search)
    ending = _ending(text, region)
    lines: list[_Line] = []
    for tag, i1, i2, j1, j2 in _opcodes(part.search, part.replace):
        if tag == "equal":
            for index in range(i1, i2):
                low, high = spans[index]
                lines += region[low : high + loose[index]]
                ending = _ending_of(region[low:high]) or ending
            continue
        ending = (
            _ending_of([row for i in range(i1, i2) for row in region[slice(*spans[i])]]) or ending
        )
        lines += [_Line(line + ending, None) for line in part.mapped[j1:j2]]
        if i2 > i1 and loose[i2 - 1]:
            low = spans[i2 - 1][1]
            lines += region[low : low + loose[i2 - 1]]
    start = part.start
    if not lines and start and region and not region[-1].text.endswith("\n"):
        start = text.rfind("\n", 0, start - 1) + 1
        lines = _lines_with_endings(text, start, part.start)
    return start, _pieces(_end_like(lines, region, ending))


def _opcodes(search: Sequence[str], new: Sequence[str]) -> Iterator[Opcode]:
    """How SEARCH becomes REPLACE, line by line."""
    shorter = min(len(search), len(new))
    head = 0
    while head < shorter and search[head] == new[head]:
        head += 1
    tail = 0
    while tail < shorter - head and search[-1 - tail] == new[-1 - tail]:
        tail += 1
    if head:
        yield "equal", 0, head, 0, head
    old_middle, new_middle = search[head : len(search) - tail], new[head : len(new) - tail]
    if len(old_middle) * len(new_middle) <= _COMPARED:
        matcher = SequenceMatcher(None, old_middle, new_middle, autojunk=False)
        for tag, i1, i2, j1, j2 in matcher.get_opcodes():
            yield tag, i1 + head, i2 + head, j1 + head, j2 + head
    else:
        yield "replace", head, len(search) - tail, head, len(new) - tail
    if tail:
        yield "equal", len(search) - tail, len(search), len(new) - tail, len(new)


def _lines_with_endings(text: str, start: int, end: int) -> list[_Line]:
    lines = []
    while start < end:
        feed = text.find("\n", start, end)
        stop = end if feed == -1 else feed + 1
        lines.append(_Line(text[start:stop], (start, stop)))
        start = stop
    return lines


def _ending_of(lines: Sequence[_Line]) -> str:
    """The line ending of the last of these lines; empty where it has none."""
    if not lines or not lines[-1].text.endswith("\n"):
        return ""
    return "\r\n" if lines[-1].text.endswith("\r\n") else "\n"


def _ending(text: str, region: Sequence[_Line]) -> str:
    """The ending for a new line before any other: that of the region, else of the file."""
    if region and _ending_of(region[:1]):
        return _ending_of(region[:1])
    start = region[0].place[0] if region and region[0].place else len(text)
    if start:
        return "\r\n" if text[:start].endswith("\r\n") else "\n"
    return "\n"


def _end_like(lines: list[_Line], region: Sequence[_Line], ending: str) -> list[_Line]:
    """A last line without a line feed stays without one, and no other line is."""
    open_end = bool(region) and not region[-1].text.endswith("\n")
    mended = []
    for index, line in enumerate(lines):
        is_open = not line.text.endswith("\n")
        want_open = open_end and index == len(lines) - 1
        if is_open and not want_open:
            line = _Line(line.text + ending, None)
        elif want_open and not is_open:
            line = _Line(line.text.removesuffix("\n").removesuffix("\r"), None)
        mended.append(line)
    return mended


def _pieces(lines: Sequence[_Line]) -> list[Piece]:
    pieces: list[Piece] = []
    for line in lines:
        last = pieces[-1] if pieces else None
        if line.place is None:
            if isinstance(last, str):
                pieces[-1] = last + line.text
            elif line.text:
                pieces.append(line.text)
        elif isinstance(last, tuple) and last[1] == line.place[0]:
            pieces[-1] = (last[0], line.place[1])
        else:
            pieces.append(line.place)
    return pieces
