"""The tiers that look past white space only: exact, blanks at the ends of lines, indentation, blank lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from itertools import pairwise
from typing import NamedTuple

from agent_runner.edits.draft import Draft
from agent_runner.edits.indent import Fit, Likeness, Reindenter
from agent_runner.edits.lines import BLANKS
from agent_runner.edits.outcome import Tier
from agent_runner.edits.runs import Run, exact_places, lines_around, loose_runs

Lines = Sequence[str]
_NEARBY = 4000  # characters above and below a place that show the file's unit of indentation


class Part(NamedTuple):
    """A run of whole lines, text[start:end], and what becomes of it.

    `spans[i]` are the region's lines (from, to) that SEARCH line i stands for; `loose[i]` are blank lines
    after it that SEARCH does not have. `mapped` is REPLACE as it is written into the file, line for line.
    """

    start: int
    end: int
    search: Lines
    replace: Lines
    mapped: Lines
    spans: Sequence[tuple[int, int]] | None = None  # None: one line each
    loose: Sequence[int] = ()


class Hit(NamedTuple):
    """One place where SEARCH stands. Only an `ellipsis` has more than one part.

    `stuck`: it stands there, and where REPLACE would go cannot be told. Such a hit only keeps others from being
    called unique; `find_places` never hands it out.
    """

    tier: Tier
    parts: tuple[Part, ...]
    stuck: bool = False

    @property
    def start(self) -> int:
        return self.parts[0].start

    @property
    def end(self) -> int:
        return self.parts[-1].end


TierSearch = Callable[[Draft, Lines, Lines], list[Hit]]


def settled(hits: Iterable[Hit]) -> list[Hit]:
    """The hits of one tier in the order of the text, each once; none where one of the places is stuck.

    Hits of several readings count together: a place that one of them can fill is not stuck.
    """
    found: dict[tuple[tuple[int, int], ...], list[Hit]] = {}
    stuck: set[tuple[tuple[int, int], ...]] = set()
    alike = Likeness()
    for hit in hits:
        place = tuple((part.start, part.end) for part in hit.parts)
        if hit.stuck:
            stuck.add(place)
            continue
        same = found.setdefault(place, [])
        mapped = [part.mapped for part in hit.parts]
        if not any(all(map(alike, mapped, (p.mapped for p in other.parts))) for other in same):
            same.append(hit)
    if not stuck <= found.keys():
        return []
    return [hit for place in sorted(found) for hit in found[place]]


def exact(draft: Draft, search: Lines, new: Lines) -> list[Hit]:
    """SEARCH as it is, by plain search."""
    return [
        Hit("exact", (Part(start, end, search, new, new),))
        for start, end in exact_places(draft.text, search)
    ]


def trailing(draft: Draft, search: Lines, new: Lines) -> list[Hit]:
    """Blanks at the ends of lines aside."""
    runs = loose_runs(draft, search)
    return [_hit("trailing whitespace", run, search, new, new) for run in runs]


def indentation(draft: Draft, search: Lines, new: Lines) -> list[Hit]:
    """Blanks at both ends aside, where one map of indents explains every line of SEARCH."""
    hits = []
    reindenter = Reindenter(search, new)
    for run in loose_runs(draft, search, indented=True):
        fit = reindenter.at(run.lines, nearby(draft, run))
        if fit is not None and fit.mapped is not None:
            hits.append(_hit("indentation", run, search, new, fit.mapped))
        elif fit is not None:
            hits.append(_hit("indentation", run, search, new, new)._replace(stuck=True))
    return hits


def blank_lines(draft: Draft, search: Lines, new: Lines) -> list[Hit]:
    """Blank lines aside, wherever and however many; if that finds nothing, indentation aside as well."""
    runs = loose_runs(draft, search, over_blanks=True)
    moved = not runs
    if moved:
        runs = loose_runs(draft, search, indented=True, over_blanks=True)
    kept = [index for index, line in enumerate(search) if line.strip(BLANKS)]
    blanks = _Blanks(search, kept, new)
    reindenter = Reindenter([search[index] for index in kept], new)
    hits = []
    for run in runs:
        replace = blanks.at(run.rows)
        fit: Fit | None = Fit(replace)
        if moved:
            fit = reindenter.at(run.lines, nearby(draft, run), replace)
        if fit is None:
            continue
        spans, loose = _spread(len(search), kept, run.rows)
        mapped = replace if fit.mapped is None else fit.mapped
        part = Part(run.start, run.end, search, replace, mapped, spans, loose)
        hits.append(Hit("blank lines", (part,), stuck=fit.mapped is None))
    return hits


class _Blanks:
    """REPLACE, with SEARCH's blank lines where it has as many as the file: they are no change there.

    Such a run of blanks is known by the line of SEARCH above or below it.
    """

    def __init__(self, search: Lines, kept: Sequence[int], new: Lines) -> None:
        self._search = search
        self._kept = kept
        self._new = new
        self._made: dict[tuple[tuple[int, int, int], ...], Lines] = {(): new}

    @cached_property
    def _places(self) -> Mapping[str, int]:
        """Where the lines stand that REPLACE has once."""
        counts = Counter(self._new)
        return {line: index for index, line in enumerate(self._new) if counts[line] == 1}

    def at(self, rows: Sequence[int]) -> Lines:
        """REPLACE for a place whose lines that are not blank are in these rows."""
        changes: dict[int, tuple[int, int, int]] = {}
        for (above, below), (row, next_row) in zip(
            pairwise(self._kept), pairwise(rows), strict=True
        ):
            ours, theirs = below - above - 1, next_row - row - 1
            if not theirs or theirs == ours:
                continue
            start = self._places.get(self._search[above], -1) + 1
            if not start:
                start = self._places.get(self._search[below], -1) - theirs
            if start <= 0:
                continue
            around = self._new[start - 1 : start + theirs + 1]
            if [not line.strip(BLANKS) for line in around] == [False, *[True] * theirs, False]:
                changes[start] = (start, start + theirs, above)
        return self._changed(tuple(sorted(changes.values())))

    def _changed(self, changes: tuple[tuple[int, int, int], ...]) -> Lines:
        """REPLACE with SEARCH's blanks below a line in its own's stead; one list for the same changes."""
        if changes not in self._made:
            below = dict(pairwise(self._kept))
            lines: list[str] = []
            at = 0
            for start, end, above in changes:
                lines += self._new[at:start]
                lines += self._search[above + 1 : below[above]]
                at = end
            self._made[changes] = [*lines, *self._new[at:]]
        return self._made[changes]


def _spread(
    count: int, kept: Sequence[int], rows: Sequence[int]
) -> tuple[list[tuple[int, int]], list[int]]:
    """Which of the region's lines each SEARCH line stands for, when blank runs differ in length.

    A run of blanks in SEARCH stands for the file's run at that place, whatever its length; blanks where SEARCH
    has none are loose: they stay behind the line they follow.
    """
    height = rows[-1] + 1
    # Blanks at either end of SEARCH stand for nothing there: the region begins and ends with text.
    spans = [(0, 0) if line < kept[0] else (height, height) for line in range(count)]
    loose = [0] * count
    for position, (index, here) in enumerate(zip(kept, rows, strict=True)):
        spans[index] = (here, here + 1)
        if position + 1 == len(rows):
            break
        blanks = rows[position + 1] - here - 1
        if kept[position + 1] > index + 1:
            spans[index + 1] = (here + 1, here + 1 + blanks)
            for other in range(index + 2, kept[position + 1]):
                spans[other] = (here + 1 + blanks, here + 1 + blanks)
        else:
            loose[index] = blanks
    return spans, loose


def nearby(draft: Draft, run: Run) -> Callable[[], list[str]]:
    """The lines around a place, to be made when they are asked for."""
    return partial(lines_around, draft.text, run.start, run.end, _NEARBY)


def _hit(tier: Tier, run: Run, search: Lines, new: Lines, mapped: Lines) -> Hit:
    return Hit(tier, (Part(run.start, run.end, search, new, mapped),))
