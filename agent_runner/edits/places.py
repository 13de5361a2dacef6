"""Where a SEARCH stands in a text: tier after tier, whole lines only, never by similarity.

The first tier with a hit decides. Plain search comes before anything else is built.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent_runner.edits.copied import fences, line_numbers
from agent_runner.edits.dots import ellipsis, split_at_dots
from agent_runner.edits.draft import Draft
from agent_runner.edits.runs import LIMIT, exact_lines
from agent_runner.edits.tiers import (
    Hit,
    Part,
    TierSearch,
    blank_lines,
    exact,
    indentation,
    settled,
    trailing,
)

__all__ = ["LIMIT", "Hit", "Part", "exact_lines", "find_places", "split_at_dots"]

Lines = Sequence[str]
_LOOSER: tuple[TierSearch, ...] = (
    trailing,
    indentation,
    blank_lines,
    fences,
    line_numbers,
    ellipsis,
)


def find_places(draft: Draft, readings: Sequence[tuple[Lines, Lines]]) -> list[Hit]:
    """The hits of the first tier that has any, in the order of the text. Readings of a block count together.

    None where SEARCH stands at a place of that tier and REPLACE cannot be mapped there: a looser tier, or
    another place, is not what was meant.
    """
    if len(readings) == 1:
        ((search, new),) = readings
        hits = exact(draft, search, new) if search else []
        if hits:
            return hits
    for search_tier in (exact, *_LOOSER) if len(readings) > 1 else _LOOSER:
        hits = [
            hit for search, new in readings if search for hit in search_tier(draft, search, new)
        ]
        if hits:
            return settled(hits)
    return []
