"""How a SEARCH that differs from the file in indentation maps its indents to the file's.

One map must explain every line of SEARCH: the same prefix more or less (`Shift`), or another unit of
indentation (`Levels`). REPLACE goes through the same map. Where two maps explain SEARCH and would put REPLACE
at different depths, it cannot be told which is meant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from typing import NamedTuple

BLANKS = " \t\r"
IndentMap = Callable[[str], str | None]  # a SEARCH or REPLACE indent -> the file's; None: none fits


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

    @property
    def has_tabs(self) -> bool:
        """Whether one of the units is a tab."""
        return "\t" in (self.unit, self.file_unit)

    def __call__(self, indent: str) -> str | None:
        count, rest = divmod(len(indent), len(self.unit))
        if rest or indent != self.unit * count or count + self.deeper < 0:
            return None
        return self.file_unit * (count + self.deeper)


class Fit(NamedTuple):
    """SEARCH stands at a place but for its indents. `mapped` is REPLACE there; None where it cannot be told."""

    mapped: list[str] | None


def reindent(
    search: Sequence[str],
    replace: Sequence[str],
    file: Sequence[str],
    nearby: Callable[[], Sequence[str]],
) -> Fit | None:
    """REPLACE in the file's indentation, given SEARCH and the file's lines that equal it apart from indents.

    Blank lines of SEARCH and `file` are not looked at. `nearby` gives the lines around the place, which show
    the file's unit of indentation; it is asked only where that makes a difference. None where no one map
    explains every line of SEARCH: it does not stand there.
    """
    pairs: dict[str, str] = {}
    for ours, theirs in zip(search, file, strict=True):
        if ours.strip(BLANKS):
            indent, wanted = indent_of(ours), indent_of(theirs)
            if pairs.setdefault(indent, wanted) != wanted:
                return None
    filled = [line for line in replace if line.strip(BLANKS)]
    others = {indent_of(line) for line in filled} - pairs.keys()
    shift = _shift(pairs)
    maps: list[IndentMap] = [] if shift is None else [shift]
    # Two depths that a shift explains leave no room for another unit: it would change their distance. And
    # one depth, which REPLACE keeps to, needs no map at all.
    if (shift is None and len(pairs) > 1) or (others and len(pairs) == 1):
        # After one depth, a REPLACE that begins deeper shows a step as well.
        reply = [*search, *replace] if len(pairs) == 1 else [*search, None, *replace]
        levels = _levels(pairs, others, reply, nearby)
        # Two lines that no shift explains can be so by one wrong indent.
        sure = shift is not None or len(pairs) > 2
        maps += [found for found in levels if sure or not found.deeper or found.has_tabs]
    if not maps and len(pairs) > 1:
        return None
    if not _same_frame(search, filled, pairs) or (
        shift is not None and _left(shift, pairs, others)
    ):
        return Fit(None)
    images = _images(others, maps, pairs)
    if images is None:
        return Fit(None)
    return Fit(_mapped(replace, images, maps, search))


def _same_frame(search: Sequence[str], filled: Sequence[str], pairs: Mapping[str, str]) -> bool:
    """False where REPLACE may be in the file's indentation already, although SEARCH is not.

    A line that both have shows that they are indented alike; so does the same least indent, an indent that
    only SEARCH has, or blanks of a kind that the file does not use there.
    """
    if not filled or not {*filled}.isdisjoint(search):
        return True
    indents = {indent_of(line) for line in filled}
    if min(map(len, indents)) == min(map(len, pairs)):
        return True
    if indents <= pairs.keys() and not indents <= {*pairs.values()}:
        return True
    ours, theirs = {*"".join(indents)}, {*"".join(pairs.values())}
    return bool(ours) and bool(theirs) and ours.isdisjoint(theirs)


def _left(shift: Shift, pairs: Collection[str], others: Collection[str]) -> bool:
    """Whether REPLACE goes left of a SEARCH that is too deep. That SEARCH does not show that the lines left of
    it are too deep as well: by taking it so a method would leave its class.
    """
    return bool(shift.remove and others) and min(map(len, others)) < min(map(len, pairs))


def _images(
    others: Collection[str], maps: Sequence[IndentMap], pairs: Mapping[str, str]
) -> dict[str, str] | None:
    """What becomes of each indent of SEARCH and REPLACE; None where that cannot be told."""
    found: dict[str, str] | None = None if others else {}
    for indent_map in maps if others else ():
        images = {indent: indent_map(indent) for indent in others}
        told = {indent: image for indent, image in images.items() if image is not None}
        if len(told) < len(images) or (_mixed(told.values()) and not _mixed(pairs.values())):
            continue
        if found is not None and found != told:
            return None
        found = told
    return None if found is None else {**pairs, **found}


def _mixed(indents: Iterable[str]) -> bool:
    """Whether one of them has both tabs and spaces."""
    return any("\t" in indent and " " in indent for indent in indents)


def _mapped(
    replace: Sequence[str],
    images: Mapping[str, str],
    maps: Sequence[IndentMap],
    search: Sequence[str],
) -> list[str]:
    lines = []
    for line in replace:
        text = line.lstrip(" \t")
        indent = line[: len(line) - len(text)]
        if text and text != "\r":
            lines.append(images[indent] + text)
            continue
        # A blank line has no depth. One that SEARCH has too keeps the file's bytes anyway.
        moved = maps[0](indent) if indent and maps and line not in search else None
        lines.append(line if moved is None else moved)
    return lines


# ---------------------------------------------------------------- maps that explain SEARCH


def _shift(pairs: Mapping[str, str]) -> Shift | None:
    ours = min(pairs, key=len)
    theirs = pairs[ours]
    if theirs.endswith(ours):
        found = Shift(add=theirs.removesuffix(ours))
    elif ours.endswith(theirs):
        found = Shift(remove=ours.removesuffix(theirs))
    else:
        return None
    return found if _explains(found, pairs) else None


def _explains(indent_map: IndentMap, pairs: Mapping[str, str]) -> bool:
    return all(indent_map(ours) == theirs for ours, theirs in pairs.items())


def _levels(
    pairs: Mapping[str, str],
    others: Iterable[str],
    reply: Iterable[str | None],
    nearby: Callable[[], Sequence[str]],
) -> list[Levels]:
    ours = min(pairs, key=len)
    theirs = pairs[ours]
    found: list[Levels] = []
    file_units = _units(pairs.values(), unit_of(nearby(), pairs.values()))
    for unit in _units([*pairs, *others], unit_of(reply, pairs)):
        for file_unit in file_units:
            if unit != file_unit and _plausible(unit, file_unit, len(pairs)):
                levels = len(theirs) // len(file_unit) - len(ours) // len(unit)
                candidate = Levels(unit, file_unit, levels)
                if _explains(candidate, pairs):
                    found.append(candidate)
    return found


def _plausible(unit: str, file_unit: str, depths: int) -> bool:
    """Between spaces, only two for four and four for two, unless three depths show it: a wider step is a
    continuation line.
    """
    return "\t" in (unit, file_unit) or {len(unit), len(file_unit)} == {2, 4} or depths > 2


def _units(indents: Iterable[str], measured: str | None) -> list[str]:
    """What one level can be: the measured unit if the indents are made of it, else what they are made of."""
    indents = [indent for indent in indents if indent]
    if any("\t" in indent for indent in indents):
        return ["\t"]
    width = 0
    for indent in indents:
        width = gcd(width, len(indent))
    if measured is not None and (measured == "\t" or width % len(measured) == 0):
        return [measured]
    return [" " * size for size in (2, 4, 8) if width and width % size == 0]


def unit_of(lines: Iterable[str | None], like: Iterable[str] = ()) -> str | None:
    """One level of indentation: a tab, or the commonest step inwards; None where no line is nested.

    None among the lines is a seam: what follows it does not go on from what stands before it. Steps of
    another kind of blanks than the indents `like` have do not count.
    """
    kinds = {*"".join(like)}
    steps: Counter[str] = Counter()
    before: str | None = None
    for line in lines:
        if line is None:
            before = None
            continue
        text = line.lstrip(" \t")
        if not text or text == "\r":
            continue
        indent = line[: len(line) - len(text)]
        if before is not None and len(indent) > len(before) and indent.startswith(before):
            step = indent[len(before) :]
            if not kinds or step[0] in kinds:
                steps["\t" if step[0] == "\t" else step] += 1
        before = indent
    if not steps:
        return None
    return max(steps.items(), key=lambda item: (item[1], -len(item[0]), item[0]))[0]
