"""REPLACE in SEARCH's place, as a three-way merge: what a block leaves unchanged keeps the file's own bytes."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from agent_runner.edits.places import Part

Piece = tuple[int, int] | str  # a range of the text that stays, or new text
Opcode = tuple[str, int, int, int, int]
Block = tuple[int, int, int]  # lines of SEARCH and of REPLACE from which on so many are the same
_WORK = 4_000_000  # steps that comparing SEARCH and REPLACE may take: about 0.2 s


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
    i = j = 0
    for low, new_low, size in [*_blocks(search, new), (len(search), len(new), 0)]:
        if i < low or j < new_low:
            yield "replace", i, low, j, new_low
        i, j = low + size, new_low + size
        if size:
            yield "equal", low, i, new_low, j


def _blocks(search: Sequence[str], new: Sequence[str]) -> list[Block]:
    """The lines that stay, in runs."""
    head, tail = _common_ends(search, new)
    middle = search[head : len(search) - tail], new[head : len(new) - tail]
    seams = _seams(search, new) if _work(*middle) > _WORK else []
    blocks: list[Block] = []
    left = _WORK
    i = j = 0
    for end, new_end in [*seams, (len(search), len(new))]:
        head, tail = _common_ends(search[i:end], new[j:new_end])
        blocks.append((i, j, head))
        i, j = i + head, j + head
        old, fresh = search[i : end - tail], new[j : new_end - tail]
        work = _work(old, fresh)
        if 0 < work <= left:
            left -= work
            matcher = SequenceMatcher(None, old, fresh, autojunk=False)
            blocks += [(i + k, j + m, size) for k, m, size in matcher.get_matching_blocks()]
        blocks.append((end - tail, new_end - tail, tail))
        i, j = end, new_end
    return [block for block in blocks if block[2]]


def _common_ends(old: Sequence[str], new: Sequence[str]) -> tuple[int, int]:
    """How many lines are the same at the beginning, and at the end of the rest."""
    shorter = min(len(old), len(new))
    head = 0
    while head < shorter and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < shorter - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    return head, tail


def _work(old: Sequence[str], new: Sequence[str]) -> int:
    """What difflib does at the worst: it looks at all pairs of equal lines again for each run it finds."""
    counts = Counter(new)
    return (sum(counts[line] for line in old) + len(old)) * min(len(old), len(new))


def _seams(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """Where lines stand that both have once: as many as are in the same order in both."""
    counts, new_counts = Counter(old), Counter(new)
    rows = {line: row for row, line in enumerate(new) if new_counts[line] == 1}
    least: list[int] = []  # the least row of `new` that a chain of this length (from 1) ends with
    chains: list[tuple[int, int, int]] = []  # a line of `old`, its row, its length as a chain's end
    for index, line in enumerate(old):
        row = rows.get(line)
        if row is None or counts[line] > 1:
            continue
        length = bisect_left(least, row)
        least[length : length + 1] = [row]
        chains.append((index, row, length))
    seams: list[tuple[int, int]] = []
    wanted, before = len(least) - 1, len(new)
    for index, row, length in reversed(chains):
        if length == wanted and row < before:
            seams.append((index, row))
            wanted, before = wanted - 1, row
    return seams[::-1]


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
