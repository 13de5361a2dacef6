"""How a SEARCH that differs from the file in indentation maps its indents to the file's.

One map must explain every line of SEARCH: the same prefix more or less (`Shift`), or another unit of
indentation (`Levels`). REPLACE goes through the same map. Where two maps explain SEARCH and would put REPLACE
at different depths, it cannot be told which is meant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from math import gcd
from typing import NamedTuple, overload

from agent_runner.edits.lines import BLANKS

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


class Mapped(Sequence[str]):
    """REPLACE in the indentation of a place. Its lines are made when they are asked for: most places of a
    SEARCH that stands in several are only counted.
    """

    def __init__(
        self,
        replace: Sequence[str],
        image: IndentMap,
        blank: IndentMap | None,
        same: Collection[str],
    ) -> None:
        """`image` is for the lines that are not blank; `blank` for the blank ones that are not in `same`."""
        self.replace = replace
        self.image = image
        self._blank = blank
        self._same = same

    @cached_property
    def _lines(self) -> list[str]:
        lines = []
        for line in self.replace:
            indent = indent_of(line)
            moved: str | None = None
            if line.strip(BLANKS):
                moved = self.image(indent)
            elif indent and self._blank is not None and line not in self._same:
                # A blank line has no depth. One that SEARCH has too keeps the file's bytes anyway.
                moved = self._blank(indent)
            lines.append(line if moved is None else moved + line[len(indent) :])
        return lines

    def __len__(self) -> int:
        return len(self.replace)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self._lines[index]


class Likeness:
    """Whether two REPLACEs are the same as they would be written, blanks on blank lines aside.

    What differs between the places is only what becomes of an indent; so the lines themselves are compared
    once for two REPLACEs, however many places there are.
    """

    def __init__(self) -> None:
        self._sides: dict[tuple[int, int], _Sides] = {}

    def __call__(self, first: Sequence[str], second: Sequence[str]) -> bool:
        ours, theirs = (
            one if isinstance(one, Mapped) else Mapped(one, str, None, ())
            for one in (first, second)
        )
        key = id(ours.replace), id(theirs.replace)
        if key not in self._sides:
            self._sides[key] = _Sides(ours.replace, theirs.replace)
        indents = self._sides[key].indents
        return indents is not None and all(ours.image(a) == theirs.image(b) for a, b in indents)


class _Sides:
    """Two texts side by side. `indents`: the pairs of them; None where the lines differ in more than that."""

    def __init__(self, first: Sequence[str], second: Sequence[str]) -> None:
        self._texts = first, second  # as long as they are kept, nothing else has their ids
        self.indents: set[tuple[str, str]] | None = None
        if len(first) != len(second):
            return
        indents: set[tuple[str, str]] = set()
        for ours, theirs in zip(first, second, strict=True):
            if not ours.strip(BLANKS) and not theirs.strip(BLANKS):
                continue
            if ours.lstrip(" \t") != theirs.lstrip(" \t"):
                return
            indents.add((indent_of(ours), indent_of(theirs)))
        self.indents = indents


class Fit(NamedTuple):
    """SEARCH stands at a place but for its indents. `mapped` is REPLACE there; None where it cannot be told."""

    mapped: Sequence[str] | None


class Reindenter:
    """A SEARCH and its REPLACE, for all places where SEARCH stands but for indents; both are read once."""

    def __init__(self, search: Sequence[str], replace: Sequence[str]) -> None:
        self._search = search
        self._replace = replace

    @cached_property
    def _indents(self) -> list[str | None]:
        """SEARCH's; None for a blank line."""
        return [indent_of(line) if line.strip(BLANKS) else None for line in self._search]

    @cached_property
    def _own(self) -> list[str]:
        """The indents of SEARCH, each once."""
        return list(dict.fromkeys(indent for indent in self._indents if indent is not None))

    @cached_property
    def _replaced(self) -> set[str]:
        """The indents of REPLACE."""
        return {indent_of(line) for line in self._filled}

    @cached_property
    def _filled(self) -> set[str]:
        return {line for line in self._replace if line.strip(BLANKS)}

    @cached_property
    def _lines(self) -> set[str]:
        return {*self._search}

    @cached_property
    def _others(self) -> set[str]:
        return self._replaced.difference(self._own)

    @cached_property
    def _left_most(self) -> tuple[int, int]:
        """The least depths of SEARCH's indents and of REPLACE's."""
        return min(map(len, self._own)), min(map(len, self._replaced), default=0)

    @cached_property
    def _kinds(self) -> set[str]:
        """The blanks that REPLACE is indented with."""
        return {*"".join(self._replaced)}

    @cached_property
    def _reply_units(self) -> list[str]:
        # After one depth, a REPLACE that begins deeper shows a step as well.
        seam = () if len(self._own) == 1 else (None,)
        reply = chain(self._search, seam, self._replace)
        return _units([*self._own, *self._others], unit_of(reply, self._own))

    def at(
        self,
        file: Sequence[str],
        nearby: Callable[[], Sequence[str]],
        replace: Sequence[str] | None = None,
    ) -> Fit | None:
        """REPLACE in the file's indentation, given the file's lines that equal SEARCH apart from indents.

        Blank lines of SEARCH and `file` are not looked at. `nearby` gives the lines around the place, which
        show the file's unit of indentation; it is asked only where that makes a difference. `replace`: in
        REPLACE's stead, and differs from it in blank lines only. None where no one map explains every line of
        SEARCH: it does not stand there.
        """
        pairs: dict[str, str] = {}
        for indent, theirs in zip(self._indents, file, strict=True):
            if indent is not None:
                wanted = indent_of(theirs)
                if pairs.setdefault(indent, wanted) != wanted:
                    return None
        shift = _shift(pairs)
        maps: list[IndentMap] = [] if shift is None else [shift]
        # Two depths that a shift explains leave no room for another unit: it would change their distance. And
        # one depth, which REPLACE keeps to, needs no map at all.
        if (shift is None and len(pairs) > 1) or (self._others and len(pairs) == 1):
            levels = _levels(pairs, self._reply_units, nearby)
            # Two lines that no shift explains can be so by one wrong indent.
            sure = shift is not None or len(pairs) > 2
            maps += [found for found in levels if sure or not found.deeper or found.has_tabs]
        if not maps and len(pairs) > 1:
            return None
        if not self._same_frame(pairs) or (shift is not None and self._left(shift)):
            return Fit(None)
        found = _the_map(self._others, maps, pairs)
        if found is None:
            return Fit(None)
        new = self._replace if replace is None else replace
        return Fit(Mapped(new, found, maps[0] if maps else None, self._lines))

    def _same_frame(self, pairs: Mapping[str, str]) -> bool:
        """False where REPLACE may be in the file's indentation already, although SEARCH is not.

        A line that both have shows that they are indented alike; so does the same least indent, an indent
        that only SEARCH has, or blanks of a kind that the file does not use there.
        """
        if not self._filled or not self._filled.isdisjoint(self._lines):
            return True
        ours, theirs = self._left_most
        if ours == theirs:
            return True
        if not self._others and not self._replaced <= {*pairs.values()}:
            return True
        kinds = {*"".join(pairs.values())}
        return bool(self._kinds) and bool(kinds) and self._kinds.isdisjoint(kinds)

    def _left(self, shift: Shift) -> bool:
        """Whether REPLACE goes left of a SEARCH that is too deep. That SEARCH does not show that the lines left
        of it are too deep as well: by taking it so a method would leave its class.
        """
        ours, theirs = self._left_most
        return bool(shift.remove and self._others) and theirs < ours


def _the_map(
    others: Collection[str], maps: Sequence[IndentMap], pairs: Mapping[str, str]
) -> IndentMap | None:
    """What becomes of each indent of SEARCH and REPLACE; None where that cannot be told."""
    if not others:
        return pairs.get
    chosen: IndentMap | None = None
    found: dict[str, str] | None = None
    for indent_map in maps:
        images = {indent: indent_map(indent) for indent in others}
        told = {indent: image for indent, image in images.items() if image is not None}
        if len(told) < len(images) or (_mixed(told.values()) and not _mixed(pairs.values())):
            continue
        if found is not None and found != told:
            return None
        chosen, found = indent_map, told
    return chosen


def _mixed(indents: Iterable[str]) -> bool:
    """Whether one of them has both tabs and spaces."""
    return any("\t" in indent and " " in indent for indent in indents)


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
    pairs: Mapping[str, str], units: Sequence[str], nearby: Callable[[], Sequence[str]]
) -> list[Levels]:
    ours = min(pairs, key=len)
    theirs = pairs[ours]
    found: list[Levels] = []
    file_units = _units(pairs.values(), unit_of(nearby(), pairs.values()))
    for unit in units:
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
