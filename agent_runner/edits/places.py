"""Where a SEARCH stands in a text: tier after tier, whole lines only, never by similarity.

The first tier with a hit decides. Plain search comes before anything else is built.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from agent_runner.edits.draft import Draft
from agent_runner.edits.indent import reindent, unit_of
from agent_runner.edits.lines import BLANKS, find_runs
from agent_runner.edits.outcome import Tier
from agent_runner.edits.parse import FENCE

Lines = Sequence[str]
_SAMPLE = 1000  # lines above and below a place that show the file's unit of indentation
LIMIT = 1000  # places looked at; more of them are ambiguous in any case


@dataclass(frozen=True)
class Part:
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


@dataclass(frozen=True)
class Hit:
    """One place where SEARCH stands. Only an `ellipsis` has more than one part."""

    tier: Tier
    parts: tuple[Part, ...]

    @property
    def start(self) -> int:
        return self.parts[0].start

    @property
    def end(self) -> int:
        return self.parts[-1].end


TierSearch = Callable[[Draft, Lines, Lines], list[Hit]]


def find_places(draft: Draft, readings: Sequence[tuple[Lines, Lines]]) -> list[Hit]:
    """The hits of the first tier that has any, in the order of the text. Readings of a block count together."""
    for search_tier in _TIERS:
        found: dict[tuple[int, int, tuple[tuple[str, ...], ...]], Hit] = {}
        for search, new in readings:
            for hit in search_tier(draft, search, new):
                texts = tuple(tuple(part.mapped) for part in hit.parts)
                found.setdefault((hit.start, hit.end, texts), hit)
        if found:
            return [found[key] for key in sorted(found)]
    return []


# ---------------------------------------------------------------- exact


def exact_offsets(text: str, lines: Lines) -> list[int]:
    """Offsets where these lines stand as whole lines, of a text whose lines end with a line feed only."""
    needle = "\n".join(lines)
    ends_blank = lines[-1] == ""  # the nothing after a last line feed is no line
    offsets: list[int] = []
    if text.startswith(needle + "\n") or (text == needle and not ends_blank):
        offsets.append(0)
    padded = f"\n{needle}\n"
    position = text.find(padded)
    while position != -1 and len(offsets) < LIMIT:
        offsets.append(position + 1)
        position = text.find(padded, position + 1)
    last = len(text) - len(needle)
    if not ends_blank and last > 0 and text.endswith("\n" + needle):
        offsets.append(last)
    return offsets


def exact_lines(draft: Draft, lines: Lines) -> list[int]:
    """Offsets where these lines stand in the draft, each with either line ending."""
    if "\r" not in draft.text:
        return exact_offsets(draft.text, lines)
    table = draft.table
    return [table.starts[index] for index in find_runs(table.lines, lines, LIMIT)]


def _exact(draft: Draft, search: Lines, new: Lines) -> list[Hit]:
    if "\r" in draft.text:
        runs = find_runs(draft.table.lines, search, LIMIT)
        return [_hit(draft, "exact", run, search, new, new) for run in runs]
    length = sum(map(len, search)) + len(search)
    return [
        Hit("exact", (Part(start, min(start + length, len(draft.text)), search, new, new),))
        for start in exact_offsets(draft.text, search)
    ]


def _hit(draft: Draft, tier: Tier, run: int, search: Lines, new: Lines, mapped: Lines) -> Hit:
    starts = draft.table.starts
    return Hit(tier, (Part(starts[run], starts[run + len(search)], search, new, mapped),))


# ---------------------------------------------------------------- white space


def _may_hold(text: str, lines: Lines) -> bool:
    """False where the text cannot hold all these lines, found without looking at its own lines one by one."""
    longest = sorted(set(lines), key=lambda line: (-len(line), line))[:4]
    return all(line in text for line in longest)


def _trailing(draft: Draft, search: Lines, new: Lines) -> list[Hit]:
    wanted = [line.rstrip(BLANKS) for line in search]
    if not _may_hold(draft.text, wanted):
        return []
    runs = find_runs(draft.table.trimmed, wanted, LIMIT)
    return [_hit(draft, "trailing whitespace", run, search, new, new) for run in runs]


def _indentation(draft: Draft, search: Lines, new: Lines) -> list[Hit]:
    wanted = [line.strip(BLANKS) for line in search]
    if not _may_hold(draft.text, wanted):
        return []
    table = draft.table
    runs = find_runs(table.stripped, wanted, LIMIT)
    if not runs:
        return []
    around = table.lines[max(runs[0] - _SAMPLE, 0) : runs[0] + _SAMPLE]
    unit = unit_of(around)
    hits = []
    for run in runs:
        mapped = reindent(search, new, table.lines[run : run + len(search)], unit)
        if mapped is not None:
            hits.append(_hit(draft, "indentation", run, search, new, mapped))
    return hits


def _blank_lines(draft: Draft, search: Lines, new: Lines) -> list[Hit]:
    wanted = [line.rstrip(BLANKS) for line in search]
    if not _may_hold(draft.text, wanted):
        return []
    table = draft.table
    kept = [index for index, line in enumerate(wanted) if line]
    if not kept:
        return []
    keys = [table.trimmed[index] for index in table.filled]
    hits = []
    for run in find_runs(keys, [wanted[index] for index in kept], LIMIT):
        rows = table.filled[run : run + len(kept)]
        spans, loose = _spread(len(search), kept, rows)
        start, end = table.starts[rows[0]], table.starts[rows[-1] + 1]
        hits.append(Hit("blank lines", (Part(start, end, search, new, new, spans, loose),)))
    return hits


def _spread(
    count: int, kept: list[int], rows: list[int]
) -> tuple[list[tuple[int, int]], list[int]]:
    """Which of the region's lines each SEARCH line stands for, when blank runs differ in length.

    A run of blanks in SEARCH stands for the file's run at that place, whatever its length; blanks where SEARCH
    has none are loose: they stay behind the line they follow.
    """
    first = rows[0]
    height = rows[-1] - first + 1
    # Blanks at either end of SEARCH stand for nothing there: the region begins and ends with text.
    spans = [(0, 0) if line < kept[0] else (height, height) for line in range(count)]
    loose = [0] * count
    for position, (line, row) in enumerate(zip(kept, rows, strict=True)):
        index, here = line, row - first
        spans[index] = (here, here + 1)
        if position + 1 == len(rows):
            break
        blanks = rows[position + 1] - row - 1
        if kept[position + 1] > index + 1:
            spans[index + 1] = (here + 1, here + 1 + blanks)
            for other in range(index + 2, kept[position + 1]):
                spans[other] = (here + 1 + blanks, here + 1 + blanks)
        else:
            loose[index] = blanks
    return spans, loose


# ---------------------------------------------------------------- copied from a display

_NUMBERED = re.compile(r"[ \t]*(\d{1,9}) *([|:→]|\t)(.*)", re.DOTALL)


def _line_numbers(draft: Draft, search: Lines, new: Lines) -> list[Hit]:
    numbered = [(index, _NUMBERED.fullmatch(line)) for index, line in enumerate(search)]
    matches = [(index, match) for index, match in numbered if match is not None]
    if not matches or len({int(match[1]) - index for index, match in matches}) != 1:
        return []  # numbers copied from a display count up by one
    separator = matches[0][1][2]
    bare, plain = _without_numbers(search, separator), _without_numbers(new, separator)
    if bare is None or plain is None or not any(line.strip() for line in bare):
        return []
    readings = [(bare, plain)]
    if separator != "\t" and all(line[:1] in ("", " ") for line in bare):
        # `25 | code`: the blank after the bar is the display's. A REPLACE without numbers does not have it.
        same = plain == list(new)
        readings.append(
            ([line[1:] for line in bare], plain if same else [line[1:] for line in plain])
        )
    return _as("line numbers", draft, readings)


def _without_numbers(lines: Lines, separator: str) -> list[str] | None:
    """The lines without their numbers; unchanged where none has one; None where only some have."""
    matches = [_NUMBERED.fullmatch(line) for line in lines]
    having = [match for match in matches if match is not None and match[2] == separator]
    if not having:
        return list(lines)
    if len(having) != sum(1 for line in lines if line.strip()):
        return None
    return [match[3] if match else line for match, line in zip(matches, lines, strict=True)]


def _fences(draft: Draft, search: Lines, new: Lines) -> list[Hit]:
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
    for inner in (_exact, _trailing, _indentation):
        hits = [hit for search, new in readings for hit in inner(draft, search, new)]
        if hits:
            return [replace(hit, tier=tier) for hit in hits]
    return []


# ---------------------------------------------------------------- ellipsis


def split_at_dots(lines: Lines) -> list[list[str]]:
    """The pieces between lines that are `...` alone."""
    pieces: list[list[str]] = [[]]
    for line in lines:
        if line.strip() in ("...", "…"):
            pieces.append([])
        else:
            pieces[-1].append(line)
    return pieces


def _ellipsis(draft: Draft, search: Lines, new: Lines) -> list[Hit]:
    old_pieces, new_pieces = split_at_dots(search), split_at_dots(new)
    if len(old_pieces) < 2 or len(old_pieces) != len(new_pieces):
        return []
    pairs = []
    for old, fresh in zip(old_pieces, new_pieces, strict=True):
        if old:
            pairs.append((old, fresh))
        elif fresh:
            return []  # text beside nothing has no place
    if not all(any(line.strip() for line in old) for old, _ in pairs) or not pairs:
        return []
    table = draft.table
    places = [
        find_runs(table.trimmed, [line.rstrip(BLANKS) for line in old], LIMIT) for old, _ in pairs
    ]
    hits = []
    for runs in _in_order(places, [len(old) for old, _ in pairs]):
        parts = tuple(
            Part(table.starts[run], table.starts[run + len(old)], old, fresh, fresh)
            for run, (old, fresh) in zip(runs, pairs, strict=True)
        )
        hits.append(Hit("ellipsis", parts))
    return hits


def _in_order(places: list[list[int]], lengths: list[int]) -> Iterator[list[int]]:
    """The first and, where there is another, the last choice of one place per piece, in order, no overlaps."""
    earliest: list[int] = []
    after = 0
    for runs, length in zip(places, lengths, strict=True):
        fitting = [run for run in runs if run >= after]
        if not fitting:
            return
        earliest.append(fitting[0])
        after = fitting[0] + length
    latest: list[int] = []
    before: int | None = None
    for runs, length in zip(reversed(places), reversed(lengths), strict=True):
        fitting = [run for run in runs if before is None or run + length <= before]
        latest.append(fitting[-1])
        before = fitting[-1]
    latest.reverse()
    yield earliest
    if latest != earliest:
        yield latest


_TIERS: tuple[TierSearch, ...] = (
    _exact,
    _trailing,
    _indentation,
    _blank_lines,
    _fences,
    _line_numbers,
    _ellipsis,
)
