"""REPLACE in SEARCH's place, as a three-way merge: what a block leaves unchanged keeps the file's own bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from agent_runner.edits.places import Part

Piece = tuple[int, int] | str  # a range of the text that stays, or new text
Opcode = tuple[str, int, int, int, int]
_COMPARED = (
    250_000  # lines of SEARCH times lines of REPLACE; beyond that only common ends are found
)


def merge(text: str, part: Part) -> tuple[int, list[Piece]]:
    """(start, pieces): what takes the place of text[start:part.end].

    `start` is the part's own, but where the last lines of a text without a last line feed go away: then
    the line before them loses its line feed, so that the text still ends without one.
    """
    rows = _row_starts(text, part.start, part.end)
    ending = _ending_at(text, rows[1]) or _ending_at(text, rows[0]) or "\n"
    pieces: list[Piece] = []
    for tag, i1, i2, j1, j2 in _opcodes(part.search, part.replace):
        low, high, loose = _rows_of(part, i1, i2)
        if tag == "equal":
            pieces.append((rows[low], rows[high + loose]))
            ending = _ending_at(text, rows[high]) or ending
            continue
        if high > low:
            ending = _ending_at(text, rows[high]) or ending
        if j2 > j1:
            pieces.append("".join([f"{line}{ending}" for line in part.mapped[j1:j2]]))
        if loose:
            pieces.append((rows[high], rows[high + loose]))
    if part.end > part.start and not text.endswith("\n", 0, part.end):
        return _without_last_feed(text, part.start, _joined(pieces), rows, ending)
    return part.start, _joined(pieces)


def _rows_of(part: Part, i1: int, i2: int) -> tuple[int, int, int]:
    """(low, high, loose): the region's rows for these lines of SEARCH, and how many loose ones follow them."""
    if part.spans is None:
        return i1, i2, 0
    if i1 == i2:
        return 0, 0, 0
    return part.spans[i1][0], part.spans[i2 - 1][1], part.loose[i2 - 1]


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
    old_end, new_end = len(search) - tail, len(new) - tail
    old_middle, new_middle = search[head:old_end], new[head:new_end]
    compared = len(old_middle) * len(new_middle)
    if 1 < compared <= _COMPARED:
        matcher = SequenceMatcher(None, old_middle, new_middle, autojunk=False)
        for tag, i1, i2, j1, j2 in matcher.get_opcodes():
            yield tag, i1 + head, i2 + head, j1 + head, j2 + head
    elif old_middle or new_middle:
        yield "replace", head, old_end, head, new_end
    if tail:
        yield "equal", old_end, len(search), new_end, len(new)


def _row_starts(text: str, start: int, end: int) -> list[int]:
    """Where each line of the region begins, and the region's end."""
    rows = [start]
    while start < end:
        feed = text.find("\n", start, end)
        start = end if feed == -1 else feed + 1
        rows.append(start)
    return rows


def _ending_at(text: str, end: int) -> str:
    """The ending of the line that ends there; empty where it has none."""
    if not text.endswith("\n", 0, end):
        return ""
    return "\r\n" if text.endswith("\r\n", 0, end) else "\n"


def _without_last_feed(
    text: str, start: int, pieces: list[Piece], rows: list[int], ending: str
) -> tuple[int, list[Piece]]:
    """The same for a region whose last line has no line feed: the last line still has none, others have one."""
    if not pieces:
        if start == 0:
            return 0, []
        start = text.rfind("\n", 0, start - 1) + 1
        pieces = [(start, rows[0])]
    mended: list[Piece] = []
    for index, piece in enumerate(pieces):
        last = index == len(pieces) - 1
        if isinstance(piece, str):
            mended.append(piece.removesuffix("\n").removesuffix("\r") if last else piece)
            continue
        low, high = piece
        if last == (not text.endswith("\n", low, high)):
            mended.append(piece)
            continue
        line = text.rfind("\n", low, high - 1) + 1 or low
        body = (
            text[line:high].removesuffix("\n").removesuffix("\r")
            if last
            else text[line:high] + ending
        )
        mended += [(low, line), body] if line > low else [body]
    return start, _joined(mended)


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Neighbours in one piece, empty ones left out."""
    joined: list[Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if isinstance(piece, str):
            if isinstance(last, str):
                joined[-1] = last + piece
            elif piece:
                joined.append(piece)
        elif isinstance(last, tuple) and last[1] == piece[0]:
            joined[-1] = (last[0], piece[1])
        elif piece[0] < piece[1]:
            joined.append(piece)
    return joined
