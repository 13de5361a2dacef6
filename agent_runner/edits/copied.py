"""SEARCH as it was copied from a display: with line numbers, or with a fence round the section."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from agent_runner.edits.draft import Draft
from agent_runner.edits.outcome import Tier
from agent_runner.edits.parse import FENCE
from agent_runner.edits.tiers import Hit, exact, indentation, trailing

Lines = Sequence[str]
_NUMBERED = re.compile(r"([ \t]*)(\d{1,9})( *)([|:→]|\t)(.*)", re.DOTALL)
# What stands in data and code as well (`8080: "http"`): there the number must be the place's own.
_COMMON = (":", "\t")


class _Numbers:
    """The line numbers of a SEARCH, as its display writes them."""

    def __init__(self, search: Lines) -> None:
        """Raises ValueError where there are none: numbers copied from a display stand on every line that
        is not blank, are written alike and count up by one.
        """
        matches = [_NUMBERED.fullmatch(line) for line in search]
        if any(match is None and line.strip() for match, line in zip(matches, search, strict=True)):
            raise ValueError
        found = [(index, match) for index, match in enumerate(matches) if match is not None]
        firsts = {int(match[2]) - index for index, match in found}
        separators = {match[4] for _, match in found}
        if len(firsts) != 1 or len(separators) != 1:
            raise ValueError
        (self.first,) = firsts
        (self.separator,) = separators
        self._count = len(search)
        self._starts = {match.start(2) for _, match in found}
        self._ends = {match.end(2) for _, match in found}
        self._gaps = {match[3] for _, match in found}
        self.bare = _bare(search, matches)
        self._doubled = any(self._like(line) for line in self.bare)

    def _like(self, line: str) -> re.Match[str] | None:
        """The line's number, with the separator that SEARCH's have."""
        match = _NUMBERED.fullmatch(line)
        return match if match is not None and match[4] == self.separator else None

    def _alike(self, match: re.Match[str]) -> bool:
        """Whether a number stands where the display would write it: in line with SEARCH's."""
        in_line = match.start(2) in self._starts or match.end(2) in self._ends
        return in_line and match[3] in self._gaps

    def taken_off(self, new: Lines) -> list[str] | None:
        """REPLACE without numbers; as it is where what look like numbers are its own text; None where neither
        is certain.

        Its numbers are the display's where they begin within SEARCH's, go up and are written like them. Where
        SEARCH's own text begins with such numbers as well, REPLACE's must still do so without the display's.
        """
        matches = [self._like(line) for line in new]
        found = [match for match in matches if match is not None]
        last = self.first + max(self._count, len(new))
        if not any(self.first <= int(match[2]) <= last and self._alike(match) for match in found):
            return list(new)
        numbers = [int(match[2]) for match in found]
        if (
            len(found) != sum(1 for line in new if line.strip())
            or not self.first <= numbers[0] <= self.first + self._count
            or any(low >= high for low, high in pairwise(numbers))
            or not all(self._alike(match) for match in found)
        ):
            return None
        bare = _bare(new, matches)
        if self._doubled and not all(self._like(line) for line in bare if line.strip()):
            return None
        return bare

    def claim(self, draft: Draft, hit: Hit) -> bool:
        """Whether a place is at the line that the numbers say, before the reply's blocks or after them."""
        if self.separator not in _COMMON:
            return True
        return self.first in (
            draft.original_line(hit.start),
            draft.text.count("\n", 0, hit.start) + 1,
        )


def _bare(lines: Lines, matches: Sequence[re.Match[str] | None]) -> list[str]:
    return [match[5] if match else line for match, line in zip(matches, lines, strict=True)]


def line_numbers(draft: Draft, search: Lines, new: Lines) -> list[Hit]:
    """SEARCH with the line numbers of a display; REPLACE with them, or without."""
    try:
        numbers = _Numbers(search)
    except ValueError:
        return []
    bare, plain = numbers.bare, numbers.taken_off(new)
    if plain is None or not any(line.strip() for line in bare):
        return []
    readings = [(bare, plain)]
    if numbers.separator != "\t" and all(line[:1] in ("", " ") for line in bare):
        # `25 | code`: the blank after the bar is the display's. A REPLACE without numbers does not have it.
        shorter = plain if plain == list(new) else [line[1:] for line in plain]
        readings.append(([line[1:] for line in bare], shorter))
    hits = _as("line numbers", draft, readings)
    return [hit for hit in hits if numbers.claim(draft, hit)]


def fences(draft: Draft, search: Lines, new: Lines) -> list[Hit]:
    """SEARCH, and perhaps REPLACE, with a fence of its own round it."""
    bare = _without_fence(search)
    if bare is None or not any(line.strip() for line in bare):
        return []
    inner = _without_fence(new)
    return _as("section fences", draft, [(bare, new if inner is None else inner)])


def _without_fence(lines: Lines) -> list[str] | None:
    filled = [index for index, line in enumerate(lines) if line.strip()]
    if len(filled) < 2:
        return None
    opening, closing = FENCE.fullmatch(lines[filled[0]]), FENCE.fullmatch(lines[filled[-1]])
    if not opening or not closing or closing[2].strip() or opening[1] != closing[1]:
        return None
    return list(lines[filled[0] + 1 : filled[-1]])


def _as(tier: Tier, draft: Draft, readings: Sequence[tuple[Lines, Lines]]) -> list[Hit]:
    """The hits of the white-space tiers for the text without its display, under this tier's name."""
    for search_tier in (exact, trailing, indentation):
        hits = [hit for search, new in readings for hit in search_tier(draft, search, new)]
        if hits:
            return [hit._replace(tier=tier) for hit in hits]
    return []
