"""The place in a file that a SEARCH without a match was probably meant for. For messages only: never edited.

Equal lines, or else equal words, vote for a place, rare ones with more weight. There SEARCH and the file are
aligned line by line (the longest common runs first, as difflib does it), so that a line too many or too few on
one side is seen as that and not as a difference of everything after it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from agent_runner.edits.lines import BLANKS, WORD, LineTable, words_of

SURELY = 0.75  # likeness from which on SEARCH was meant for a place
_COMMON = 50  # lines and words more frequent than this say nothing about a place
_ALIGNED = 400  # lines of a SEARCH that is aligned; a longer one is compared line by line
_SLACK = 20  # lines by which the two sides may have drifted apart
_ALIKE = 0.6
_COMPARED = 12  # lines that are compared character by character
_READ = 100  # characters of them: the cost grows with the square
_LOOKED_AT = 100  # lines of SEARCH whose words are looked at


@dataclass(frozen=True)
class Difference:
    """A line of SEARCH beside the file's; None where one side lacks it. Indexes from 0.

    A line that the file lacks would stand before its line `at`; else `at` is the file's line.
    """

    search_line: int | None
    file_line: int | None
    at: int


@dataclass(frozen=True)
class Near:
    """File lines [start, start + count), from 0, that SEARCH was probably meant for, and what differs there.

    Differences that no tier of matching tolerates come alone, if there are any. `likeness` is how much of
    SEARCH stands there, from 0 to 1.
    """

    start: int
    count: int
    differences: tuple[Difference, ...]
    likeness: float


def nearest_place(search: Sequence[str], table: LineTable) -> Near | None:
    """None: nothing in the file is near."""
    if not table.stripped or not any(line.strip() for line in search):
        return None
    ours = [line.strip(BLANKS) for line in search]
    start = _by_lines(ours, table)
    if start is None:
        start = _by_words(ours, table)
    if start is None:
        return None
    pairs = list(_aligned(ours, table, start))
    rows = [row for _, row in pairs if row is not None]
    if not rows:
        return None
    return Near(
        rows[0],
        rows[-1] - rows[0] + 1,
        _differences(search, table, pairs),
        _share(ours, table.stripped, pairs),
    )


# ---------------------------------------------------------------- the place


def _by_lines(ours: Sequence[str], table: LineTable) -> int | None:
    votes: dict[int, float] = defaultdict(float)
    for index, line in enumerate(ours):
        found = table.rows_of_line.get(line, []) if WORD.search(line) else []
        if 0 < len(found) <= _COMMON:
            for row in found:
                votes[row - index] += 1 / len(found)
    if not votes:
        return None
    most = max(votes.values())
    best = [place for place, weight in votes.items() if weight > most - 1e-6]
    return min(best, key=lambda place: (-_agreeing(ours, table, place), place))


def _agreeing(ours: Sequence[str], table: LineTable, start: int) -> int:
    """How many of SEARCH's first lines stand at this place."""
    for index, line in enumerate(ours):
        row = start + index
        if not 0 <= row < len(table.stripped) or table.stripped[row] != line:
            return index
    return len(ours)


def _by_words(ours: Sequence[str], table: LineTable) -> int | None:
    votes: dict[int, float] = defaultdict(float)
    for index, line in enumerate(ours[:_LOOKED_AT]):
        for word in sorted(words_of(line)):
            found = table.rows_of_word.get(word, [])
            if 0 < len(found) <= _COMMON:
                for row in found:
                    votes[row - index] += 1 / len(found)
    compared = max(_COMPARED // min(len(ours), _COMPARED), 3)
    best = sorted(votes, key=lambda place: (-votes[place], place))[:compared]
    close = [place for place in best if _likeness(ours, table, place) >= 0.5]
    return max(close, key=lambda place: (_closeness(ours, table, place), -place), default=None)


def _likeness(ours: Sequence[str], table: LineTable, start: int) -> float:
    """The share of SEARCH's words that stand in the lines at this place."""
    wanted = {word for line in ours[:_LOOKED_AT] for word in words_of(line)}
    rows = table.stripped[max(start, 0) : max(start + len(ours), 0)]
    return len(wanted & {word for line in rows for word in words_of(line)}) / len(wanted)


def _closeness(ours: Sequence[str], table: LineTable, start: int) -> float:
    """How alike the first lines at this place are, character by character; a common beginning counts twice."""
    total = 0.0
    for index, line in enumerate(ours[:_COMPARED]):
        row = start + index
        if not line or not 0 <= row < len(table.stripped):
            continue
        old, theirs = line[:_READ], table.stripped[row][:_READ]
        total += _ratio(old, theirs) + _common_beginning(old, theirs) / len(old)
    return total


def _common_beginning(ours: str, theirs: str) -> int:
    pairs = enumerate(zip(ours, theirs, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(ours), len(theirs)))


# ---------------------------------------------------------------- line beside line

Pair = tuple[int | None, int | None]  # (line of SEARCH, line of the file)


def _aligned(ours: Sequence[str], table: LineTable, start: int) -> Iterator[Pair]:
    """Every line of SEARCH and of the region in order, each beside its counterpart or beside nothing."""
    theirs = table.stripped
    runs = _common_runs(ours, table, start)
    if not runs:
        yield from _positional(ours, theirs, start)
        return
    first, row, _ = runs[0]
    beside = range(1, min(first, row, _COMPARED) + 1)
    above = max((k for k in beside if _related(ours[first - k], theirs[row - k])), default=0)
    yield from ((index, None) for index in range(first - above))
    yield from ((first - k, row - k) for k in range(above, 0, -1))
    for (i, j, size), following in zip(runs, [*runs[1:], None], strict=True):
        yield from ((i + k, j + k) for k in range(size))
        if following is not None:
            yield from _gap(range(i + size, following[0]), range(j + size, following[1]))
    index, row = i + size, j + size
    beside = range(min(len(ours) - index, len(theirs) - row, _COMPARED))
    below = max((k + 1 for k in beside if _related(ours[index + k], theirs[row + k])), default=0)
    yield from ((index + k, row + k) for k in range(below))
    yield from ((rest, None) for rest in range(index + below, len(ours)))


def _common_runs(ours: Sequence[str], table: LineTable, start: int) -> list[tuple[int, int, int]]:
    """(line of SEARCH, line of the file, lines) of equal runs near the place, in the order of both.

    A run that lies far from where the others put it must hold a line that stands in the file only once.
    """
    theirs = table.stripped
    if len(ours) > _ALIGNED:
        place = range(max(start, 0), min(start + len(ours), len(theirs)))
        return [(row - start, row, 1) for row in place if ours[row - start] == theirs[row] != ""]
    near = min(max(3, len(ours) // 3), _SLACK)
    drifted = [
        row
        for line in ours
        if len(rows := table.rows_of_line.get(line, [])) == 1
        for row in rows
        if -_SLACK <= row - start < len(ours) + _SLACK
    ]
    low = max(min([start - near, *drifted]), 0)
    high = min(max([start + len(ours) + near, *(row + 1 for row in drifted)]), len(theirs))
    matcher = SequenceMatcher(None, ours, theirs[low:high], autojunk=False)
    return [
        (i, j + low, size)
        for i, j, size in matcher.get_matching_blocks()
        if any(ours[i : i + size])
        and (
            abs(j + low - i - start) <= near
            or not {*range(j + low, j + low + size)}.isdisjoint(drifted)
        )
    ]


def _gap(ours: range, theirs: range) -> Iterator[Pair]:
    """Lines between two common runs: side by side as far as both have some."""
    yield from zip(ours, theirs, strict=False)
    both = min(len(ours), len(theirs))
    yield from ((index, None) for index in ours[both:])
    yield from ((None, row) for row in theirs[both:])


def _positional(ours: Sequence[str], theirs: Sequence[str], start: int) -> Iterator[Pair]:
    """Without one common line: line for line from the place on, what is unlike left out at both ends."""
    place = range(max(-start, 0), min(len(ours), len(theirs) - start))
    related = [
        next((i for i in few if _related(ours[i], theirs[start + i])), None)
        for few in (place[:_COMPARED], place[::-1][:_COMPARED])
    ]
    first, last = (place[0], place[-1]) if place else (0, -1)
    first = first if related[0] is None else related[0]
    last = last if related[1] is None else related[1]
    for index in range(len(ours)):
        yield index, start + index if first <= index <= last else None


def _share(ours: Sequence[str], theirs: Sequence[str], pairs: Sequence[Pair]) -> float:
    """How much of SEARCH stands at its place; of lines that differ only the first ones count."""
    total = 0.0
    compared = 0
    for index, row in pairs:
        if index is None or row is None or not ours[index]:
            continue
        if ours[index] == theirs[row]:
            total += 1
        elif compared < _COMPARED:
            compared += 1
            total += _ratio(ours[index], theirs[row])
    return total / max(sum(1 for line in ours if line), 1)


def _ratio(old: str, new: str) -> float:
    return SequenceMatcher(None, old[:_READ], new[:_READ], autojunk=False).ratio()


def _related(ours: str, theirs: str) -> bool:
    """Whether one line may be the other with a change."""
    return ours == theirs or (bool(ours) and bool(theirs) and _alike(ours, theirs))


def _alike(old: str, new: str) -> bool:
    """Whether two lines have most of their characters in common."""
    shorter, longer = sorted((min(len(old), _READ), min(len(new), _READ)))
    return 2 * shorter >= _ALIKE * (shorter + longer) and _ratio(old, new) >= _ALIKE


def _differences(
    search: Sequence[str], table: LineTable, pairs: Sequence[Pair]
) -> tuple[Difference, ...]:
    """Of the kind that matters most, every difference: text, else blank lines, else white space in a line."""
    text: list[Difference] = []
    blank: list[Difference] = []
    space: list[Difference] = []
    lines = table.lines
    at = next(row for _, row in pairs if row is not None)
    for index, row in pairs:
        ours = "" if index is None else search[index]
        theirs = "" if row is None else lines[row]
        at = at if row is None else row
        if ours.strip(BLANKS) != theirs.strip(BLANKS):
            text.append(Difference(index, row, at))
        elif index is None or row is None:
            blank.append(Difference(index, row, at))
        elif ours != theirs:
            space.append(Difference(index, row, at))
        at = at if row is None else row + 1
    return tuple(text or space or blank)
