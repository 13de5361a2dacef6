"""How a SEARCH that differs from the file only in indentation maps its indents to the file's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import gcd

IndentMap = Callable[
    [str], str | None
]  # a SEARCH or REPLACE indent -> the file's; None: cannot be told


def indent_of(line: str) -> str:
    """The blanks a line begins with."""
    return line[: len(line) - len(line.lstrip(" \t"))]


@dataclass(frozen=True)
class Shift:
    """The same prefix more, or less, on every line."""

    add: str = ""
    remove: str = ""

    def __call__(self, indent: str) -> str | None:
        if not indent.startswith(self.remove):
            return None
        return self.add + indent[len(self.remove) :]


@dataclass(frozen=True)
class Levels:
    """Another unit of indentation (a tab for four spaces, say), and perhaps another depth."""

    unit: str
    file_unit: str
    deeper: int

    def __call__(self, indent: str) -> str | None:
        count, rest = divmod(len(indent), len(self.unit))
        if rest or indent != self.unit * count or count + self.deeper < 0:
            return None
        return self.file_unit * (count + self.deeper)


def reindent(
    search: Sequence[str], replace: Sequence[str], file: Sequence[str], file_unit: str | None
) -> list[str] | None:
    """REPLACE in the file's indentation, given SEARCH and the file's lines that equal it apart from indents.

    None where no one map explains every line, where a line of REPLACE cannot be mapped, or where two maps that
    both explain SEARCH would put REPLACE at different depths.
    """
    pairs = {
        (indent_of(ours), indent_of(theirs))
        for ours, theirs in zip(search, file, strict=True)
        if ours.strip(" \t\r")
    }
    known = set(search)
    if not _same_depth(search, replace):
        return None
    results: list[list[str]] = []
    for candidate in _candidates(pairs, unit_of([*search, "", *replace]), file_unit):
        if any(candidate(ours) != theirs for ours, theirs in pairs):
            continue
        mapped = [_map_line(line, candidate, known) for line in replace]
        texts = [line for line in mapped if line is not None]
        if len(texts) == len(mapped) and not _mixes(texts, file):
            results.append(texts)
    if not results or any(result != results[0] for result in results):
        return None
    return results[0]


def _same_depth(search: Sequence[str], replace: Sequence[str]) -> bool:
    """False where REPLACE may be in the file's indentation already, although SEARCH is not.

    A line that both have shows that they are indented alike; so does the same least indent.
    """
    filled = [line for line in replace if line.strip(" \t\r")]
    if not filled or not {*filled}.isdisjoint(search):
        return True
    least = min(len(indent_of(line)) for line in search if line.strip(" \t\r"))
    return least == min(len(indent_of(line)) for line in filled)


def _map_line(line: str, candidate: IndentMap, known: set[str]) -> str | None:
    if not line.strip(" \t\r"):
        # Blank lines have no depth; one that SEARCH has too keeps the file's bytes anyway.
        return line if line in known else candidate(line) or line
    indent = indent_of(line)
    mapped = candidate(indent)
    return None if mapped is None else mapped + line[len(indent) :]


def _mixes(mapped: Sequence[str], file: Sequence[str]) -> bool:
    """Whether an indent has both tabs and spaces, where the file's lines have no such indent."""
    kinds = [{*indent_of(line)} for line in (*mapped, *file) if line.strip(" \t\r")]
    return any(len(kind) > 1 for kind in kinds) and all(
        len({*indent_of(line)}) < 2 for line in file
    )


def _candidates(
    pairs: Iterable[tuple[str, str]], unit: str | None, file_unit: str | None
) -> list[IndentMap]:
    ours, theirs = min(pairs, key=lambda pair: (len(pair[0]), pair))
    found: list[IndentMap] = []
    if theirs.endswith(ours):
        found.append(Shift(add=theirs.removesuffix(ours)))
    elif ours.endswith(theirs):
        found.append(Shift(remove=ours.removesuffix(theirs)))
    for our_unit in _units(unit, pairs, 0):
        for their_unit in _units(file_unit, pairs, 1):
            if our_unit != their_unit and _plausible(our_unit, their_unit):
                levels = len(theirs) // len(their_unit) - len(ours) // len(our_unit)
                found.append(Levels(our_unit, their_unit, levels))
    return found


def _plausible(unit: str, file_unit: str) -> bool:
    """Between spaces, only two for four and four for two: a wider step is a continuation line."""
    return "\t" in (unit, file_unit) or {len(unit), len(file_unit)} == {2, 4}


def _units(unit: str | None, pairs: Iterable[tuple[str, str]], side: int) -> list[str]:
    """What one level can be: the measured unit; where nothing was measured, whatever fits the indents seen."""
    if unit is not None:
        return [unit]
    indents = [pair[side] for pair in pairs if pair[side]]
    if any("\t" in indent for indent in indents):
        return ["\t"]
    width = 0
    for indent in indents:
        width = gcd(width, len(indent))
    return [" " * size for size in (2, 4, 8) if width % size == 0 and width]


def unit_of(lines: Sequence[str]) -> str | None:
    """One level of indentation: a tab, or the commonest step inwards; None where no line is nested."""
    steps: Counter[str] = Counter()
    before: str | None = None
    for line in lines:
        if not line.strip(" \t\r"):
            continue
        indent = indent_of(line)
        if before is not None and len(indent) > len(before) and indent.startswith(before):
            step = indent[len(before) :]
            steps["\t" if step.startswith("\t") else step] += 1
        before = indent
    if not steps:
        return None
    return max(steps.items(), key=lambda item: (item[1], -len(item[0]), item[0]))[0]
