"""Where a run of whole lines stands in a text: as it is, or but for blanks at their ends and blank lines.

What plain search and a look at the lines around it can tell is told so; the lines of the whole text are
looked at only where a SEARCH's longest line stands in very many places.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice
from typing import NamedTuple

from agent_runner.edits.draft import Draft
from agent_runner.edits.lines import BLANKS, find_runs

Lines = Sequence[str]
LIMIT = 1000  # places looked at; more of them are ambiguous in any case
_WORK = 200_000  # lines of such places that are looked at: a long SEARCH is looked at in fewer
_ANCHORS = 100  # places of one line that are looked at one by one
_GAP = 100  # blank lines in a row that are passed over one by one


class Run(NamedTuple):
    """text[start:end], whole lines, with those of its lines that stand for lines of SEARCH."""

    start: int
    end: int
    lines: list[str]
    rows: list[int]  # how many lines of the region stand above each


class _ManyPlaces(Exception):
    """Line by line this would take too long."""


# ---------------------------------------------------------------- as they are


def exact_offsets(text: str, lines: Lines, ending: str = "\n") -> list[int]:
    """Offsets where these lines stand as whole lines, of a text whose lines all have the same ending."""
    needle = ending.join(lines)
    padded = f"\n{needle}{ending}"
    position = text.find(padded)
    offsets: list[int] = []
    while position != -1:
        offsets.append(position + 1)
        if len(offsets) >= LIMIT:
            break
        position = text.find(padded, position + 1)
    if text.startswith(needle) and text.startswith(ending, len(needle)):
        offsets.insert(0, 0)
    # The nothing after a last line feed is no line; a last line without one is.
    if text[-1:] != "\n" and lines[-1] and text.endswith(needle):
        last = len(text) - len(needle)
        if last == 0 or text[last - 1] == "\n":
            offsets.append(last)
    return offsets


def exact_lines(draft: Draft, lines: Lines) -> list[int]:
    """Offsets where these lines stand in the draft, each with either line ending."""
    return [start for start, _ in exact_places(draft.text, lines)]


def exact_places(text: str, lines: Lines) -> list[tuple[int, int]]:
    """The same with the ends of the places."""
    ending = "\n"
    pieces: list[str] | None = None
    if "\r" in text:
        if text.count("\r\n") == text.count("\n"):
            ending = "\r\n"
        else:  # a place may have lines of both kinds: look for it where all are of one
            pieces = text.split("\r\n")
            text = "\n".join(pieces)
    offsets = exact_offsets(text, lines, ending)
    if not offsets:
        return []
    length = sum(map(len, lines)) + len(ending) * len(lines)
    size = len(text)
    places = [(start, min(start + length, size)) for start in offsets]
    if pieces is None:
        return places
    # From each of these offsets on, the text itself is one carriage return further on.
    carried = [*accumulate(len(piece) + 1 for piece in pieces)]
    return [
        (start + bisect_right(carried, start), end + bisect_right(carried, end))
        for start, end in places
    ]


def most_places(count: int) -> int:
    """How many places of that many lines are looked at, of those that differ in blanks."""
    return min(LIMIT, max(_WORK // count, 10))


def _from_table(draft: Draft, rows: list[int], count: int) -> list[Run]:
    starts = draft.table.starts
    places = [(starts[row], starts[row + count]) for row in rows]
    return [
        Run(start, end, _lines_of(draft.text[start:end], count), [*range(count)])
        for start, end in places
    ]


def _lines_of(region: str, count: int) -> list[str]:
    return [line.removesuffix("\r") for line in region.split("\n")[:count]]


# ---------------------------------------------------------------- but for blanks


def loose_runs(
    draft: Draft, lines: Lines, *, indented: bool = False, over_blanks: bool = False
) -> list[Run]:
    """Where these lines stand but for blanks at their ends.

    `indented`: also but for blanks at their beginnings. `over_blanks`: with blank lines passed over, in the
    text and in `lines`.
    """
    strip = str.strip if indented else str.rstrip
    wanted = [strip(line, BLANKS) for line in lines]
    if over_blanks:
        wanted = [line for line in wanted if line]
    # The longest line is likely to be the rarest.
    longest = max(wanted, key=len, default="")
    if not longest:
        return []
    anchor = wanted.index(longest)
    walk = _Walk(draft.text, wanted, anchor, indented, over_blanks)
    try:
        found = [walk.run_at(offset) for offset in walk.anchors()]
        return [run for run in found if run is not None]
    except _ManyPlaces:
        if not all(line in draft.text for line in islice(set(wanted), _ANCHORS)):
            return []
    table = draft.table
    keys = table.stripped if indented else table.trimmed
    most = most_places(len(wanted))
    if not over_blanks:
        return _from_table(draft, find_runs(keys, wanted, most), len(wanted))
    filled = table.filled
    runs = []
    for place in find_runs([keys[row] for row in filled], wanted, most):
        rows = filled[place : place + len(wanted)]
        start, end = table.starts[rows[0]], table.starts[rows[-1] + 1]
        lines_here = _lines_of(draft.text[start:end], rows[-1] - rows[0] + 1)
        rows = [row - rows[0] for row in rows]
        runs.append(Run(start, end, [lines_here[row] for row in rows], rows))
    return runs


class _Walk:
    """Looks for lines from the places of one of them, the anchor."""

    def __init__(
        self, text: str, wanted: list[str], anchor: int, indented: bool, over_blanks: bool
    ) -> None:
        self._text = text
        self._above = wanted[:anchor][::-1]
        self._below = wanted[anchor + 1 :]
        self._anchor = wanted[anchor]
        self._strip = str.strip if indented else str.rstrip
        self._indented = indented
        self._over_blanks = over_blanks

    def anchors(self) -> list[int]:
        """Where the lines begin that equal the anchor. Raises _ManyPlaces."""
        text, anchor = self._text, self._anchor
        # Without blanks to ignore before it, it stands at the beginning of a line.
        before = 0 if self._indented else 1
        needle = anchor if self._indented else "\n" + anchor
        found: list[int] = []
        if before and text.startswith(anchor):
            found.append(0)
        looked = 0
        position = text.find(needle)
        while position != -1:
            looked += 1
            if looked > _ANCHORS:
                raise _ManyPlaces
            start = text.rfind("\n", 0, position + before) + 1
            found.append(start)
            position = text.find(needle, position + len(needle))
        return [start for start in dict.fromkeys(found) if self._is_anchor(start)]

    def _is_anchor(self, start: int) -> bool:
        end = self._text.find("\n", start)
        line = self._text[start:] if end == -1 else self._text[start:end]
        return self._strip(line, BLANKS) == self._anchor

    def run_at(self, start: int) -> Run | None:
        """The run whose anchor is the line that begins there. Raises _ManyPlaces."""
        below = self._matched(self._lines_from(start), [self._anchor, *self._below])
        if below is None:
            return None
        above = self._matched(self._lines_above(start), self._above)
        if above is None:
            return None
        lines = [*reversed(above.lines), *below.lines]
        height = above.rows[-1] + 1 if above.rows else 0
        rows = [height - 1 - row for row in reversed(above.rows)]
        rows += [height + row for row in below.rows]
        begin = start if above.edge is None else above.edge
        end = start if below.edge is None else below.edge
        return Run(begin, end, [line.removesuffix("\r") for line in lines], rows)

    def _lines_from(self, start: int) -> Iterator[tuple[int, str]]:
        """(where it ends, line) for the line that begins there and those below."""
        text, size = self._text, len(self._text)
        while start < size:
            end = text.find("\n", start)
            line = text[start:] if end == -1 else text[start:end]
            start = size if end == -1 else end + 1
            yield start, line

    def _lines_above(self, start: int) -> Iterator[tuple[int, str]]:
        """(where it begins, line) for the lines above, the nearest first."""
        while start > 0:
            end = start - 1
            start = self._text.rfind("\n", 0, end) + 1
            yield start, self._text[start:end]

    def _matched(self, found: Iterator[tuple[int, str]], wanted: list[str]) -> _Matched | None:
        """The first of these lines, if they are the wanted ones. Raises _ManyPlaces."""
        edge: int | None = None
        lines: list[str] = []
        rows: list[int] = []
        row = -1
        for want in wanted:
            for gap, (border, line) in enumerate(found):
                row += 1
                bare = self._strip(line, BLANKS)
                if not bare and self._over_blanks:
                    if gap == _GAP:
                        raise _ManyPlaces
                    continue
                if bare != want:
                    return None
                edge = border
                lines.append(line)
                rows.append(row)
                break
            else:
                return None
        return _Matched(edge, lines, rows)


class _Matched(NamedTuple):
    """Lines as they stand in the text, in the order they were looked at; the edge of the last one."""

    edge: int | None
    lines: list[str]
    rows: list[int]  # how many lines were looked at before each


def lines_around(text: str, start: int, end: int, reach: int) -> list[str]:
    """The whole lines in up to `reach` characters either side of text[start:end], and those between."""
    low = max(start - reach, 0)
    if low:
        low = text.find("\n", low, start) + 1 or start
    return text[low : end + reach].split("\n")
