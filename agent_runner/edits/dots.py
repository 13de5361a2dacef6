"""SEARCH with lines that are `...` alone: its pieces stand in the text in this order, each in one place."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agent_runner.edits.draft import Draft
from agent_runner.edits.indent import Fit, Reindenter
from agent_runner.edits.runs import Run, loose_runs, most_places
from agent_runner.edits.tiers import Hit, Part, nearby

Lines = Sequence[str]
_LEADS = frozenset(".…#/-")
_DOTS = re.compile(r"[ \t]*(?:(?:#|//|--) ?)?(?:\.\.\.|…)[ \t\r]*")
Pair = tuple[list[str], list[str]]  # a piece of SEARCH, and that of REPLACE which takes its place


def split_at_dots(lines: Lines) -> list[list[str]]:
    """The pieces between lines that are `...` alone, or in a comment of their own."""
    pieces: list[list[str]] = []
    start = 0
    for index, line in enumerate(lines):
        if line.lstrip(" \t")[:1] in _LEADS and _DOTS.fullmatch(line):
            pieces.append(list(lines[start:index]))
            start = index + 1
    return [*pieces, list(lines[start:])]


def ellipsis(draft: Draft, search: Lines, new: Lines) -> list[Hit]:
    """SEARCH piece by piece, and REPLACE with as many; each piece takes the place of its own."""
    old_pieces, new_pieces = split_at_dots(search), split_at_dots(new)
    if len(old_pieces) < 2 or len(old_pieces) != len(new_pieces):
        return []
    pairs: list[Pair] = []
    for old, fresh in zip(old_pieces, new_pieces, strict=True):
        if old:
            pairs.append((old, fresh))
        elif fresh:
            return []  # text beside nothing has no place
    if not all(any(line.strip() for line in old) for old, _ in pairs) or not pairs:
        return []
    return _hits(draft, pairs, indented=False) or _hits(draft, pairs, indented=True)


def _hits(draft: Draft, pairs: Sequence[Pair], *, indented: bool) -> list[Hit]:
    """With `indented`, one map of indents must explain the lines of all pieces."""
    places = [loose_runs(draft, old, indented=indented) for old, _ in pairs]
    found = _in_order(places) if all(places) else []
    if len(found) == 1 and any(
        len(runs) >= most_places(len(old)) for runs, (old, _) in zip(places, pairs, strict=True)
    ):
        return []  # a place that was not looked at may fit as well
    hits = []
    for runs in found:
        fit: Fit | None = Fit([line for _, fresh in pairs for line in fresh])
        if indented:
            fit = _moved(draft, pairs, runs)
        if fit is not None:
            hits.append(_hit(pairs, runs, fit))
    return hits


def _moved(draft: Draft, pairs: Sequence[Pair], runs: Sequence[Run]) -> Fit | None:
    search, new = ([line for pair in pairs for line in pair[side]] for side in (0, 1))
    there = [line for run in runs for line in run.lines]
    return Reindenter(search, new).at(there, nearby(draft, runs[0]))


def _hit(pairs: Sequence[Pair], runs: Sequence[Run], fit: Fit) -> Hit:
    parts = []
    at = 0
    for run, (old, fresh) in zip(runs, pairs, strict=True):
        mapped = fresh if fit.mapped is None else fit.mapped[at : at + len(fresh)]
        parts.append(Part(run.start, run.end, old, fresh, mapped))
        at += len(fresh)
    return Hit("ellipsis", tuple(parts), stuck=fit.mapped is None)


def _in_order(places: Sequence[Sequence[Run]]) -> list[list[Run]]:
    """The first and, where there is another, the last choice of one place per piece, in order, no overlaps."""
    earliest: list[Run] = []
    after = 0
    for runs in places:
        first = next((run for run in runs if run.start >= after), None)
        if first is None:
            return []
        earliest.append(first)
        after = first.end
    latest: list[Run] = []
    before = places[-1][-1].end
    for runs in reversed(places):
        last = next(run for run in reversed(runs) if run.end <= before)
        latest.append(last)
        before = last.start
    latest.reverse()
    return [earliest] if latest == earliest else [earliest, latest]
