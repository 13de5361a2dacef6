"""The place in a file that a SEARCH without a match was probably meant for. For messages only: never edited."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from agent_runner.edits.lines import BLANKS, WORD, LineTable, words_of

_COMMON = 50  # lines and words more frequent than this say nothing about a place


@dataclass(frozen=True)
class Near:
    """File lines [start, start + count) beside SEARCH, from 0.

    SEARCH's first line that differs is `search_line`. Beside it stands the file's `file_line` (None: before
    its begin or past its end).
    """

    start: int
    count: int
    search_line: int
    file_line: int | None


def nearest_place(search: Sequence[str], table: LineTable) -> Near | None:
    """Equal lines vote for a place, rare ones with more weight; without any, words do. None: nothing near."""
    if not table.lines or not any(line.strip() for line in search):
        return None
    start = _by_lines(search, table)
    if start is None:
        start = _by_words(search, table)
    if start is None:
        return None
    low, high = max(start, 0), min(start + len(search), len(table.lines))
    for index, line in enumerate(search):
        row = start + index
        if not 0 <= row < len(table.lines):
            return Near(low, high - low, index, None)
        if table.lines[row] != line:
            return Near(low, high - low, index, row)
    return None  # it does match


def _by_lines(search: Sequence[str], table: LineTable) -> int | None:
    votes: dict[int, float] = defaultdict(float)
    for index, line in enumerate(search):
        found = table.rows_of_line.get(line.strip(BLANKS), []) if WORD.search(line) else []
        if 0 < len(found) <= _COMMON:
            for row in found:
                votes[row - index] += 1 / len(found)
    if not votes:
        return None
    most = max(votes.values())
    best = [place for place, weight in votes.items() if weight > most - 1e-6]
    return min(best, key=lambda place: (-_agreeing(search, table, place), place))


def _by_words(search: Sequence[str], table: LineTable) -> int | None:
    votes: dict[int, float] = defaultdict(float)
    for index, line in enumerate(search[:100]):
        for word in sorted(words_of(line)):
            found = table.rows_of_word.get(word, [])
            if 0 < len(found) <= _COMMON:
                for row in found:
                    votes[row - index] += 1 / len(found)
    best = sorted(votes, key=lambda place: (-votes[place], place))[:3]
    scored = [(_likeness(search, table, place), -place) for place in best]
    likeness, place = max(scored, default=(0.0, 0))
    return -place if likeness >= 0.5 else None


def _likeness(search: Sequence[str], table: LineTable, start: int) -> float:
    """The share of SEARCH's words that stand in the lines at this place."""
    ours = {word for line in search[:100] for word in words_of(line)}
    low = max(start, 0)
    theirs = {word for line in table.lines[low : low + len(search)] for word in words_of(line)}
    return len(ours & theirs) / len(ours)


def _agreeing(search: Sequence[str], table: LineTable, start: int) -> int:
    """How many of SEARCH's first lines stand at this place."""
    for index, line in enumerate(search):
        row = start + index
        if not 0 <= row < len(table.lines) or table.stripped[row] != line.strip(BLANKS):
            return index
    return len(search)
