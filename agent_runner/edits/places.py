"""Where a SEARCH stands in a file. Tiers from exact to tolerant; the first with a hit decides.

Never by similarity, never by first and last line only, never inside a line. What each tier forgives is
white space or decoration that a model adds when it copies, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

# Maps the indentation of a REPLACE line to the file's; None where it cannot.
IndentMap = Callable[[str], str | None]


def _same(indent: str) -> str | None:
    return indent


@dataclass(frozen=True)
class Place:
    """One hit: lines start..stop of the file; `rows[i]` is the file line of SEARCH line i (None = blank)."""

    start: int
    stop: int
    rows: tuple[int | None, ...]
    indent: IndentMap = _same


def exact(lines: Sequence[str], search: Sequence[str]) -> list[Place]:
    """Whole lines, byte for byte (but for line ends), by plain string search."""
    haystack = "\n" + "\n".join(lines) + "\n"
    needle = "\n" + "\n".join(search) + "\n"
    places, position, line, counted = [], haystack.find(needle), 0, 0
    while position != -1:
        line += haystack.count("\n", counted, position)
        counted = position
        places.append(_run(line, len(search)))
        position = haystack.find(needle, position + 1)
    return places


def trailing_space(lines: Sequence[str], search: Sequence[str]) -> list[Place]:
    """The same, white space at line ends ignored."""
    return exact([line.rstrip() for line in lines], [line.rstrip() for line in search])


def indentation(lines: Sequence[str], search: Sequence[str]) -> list[Place]:
    """The same text at another indentation, by one map that holds for every line."""
    wanted = [line.strip() for line in search]
    found = exact([line.strip() for line in lines], wanted)
    places = []
    for place in found:
        pairs = [
            (_indent(search[i]), _indent(lines[place.start + i]))
            for i, text in enumerate(wanted)
            if text
        ]
        indent = indent_map(pairs)
        if indent is not None:
            places.append(Place(place.start, place.stop, place.rows, indent))
    return places


def blank_lines(lines: Sequence[str], search: Sequence[str]) -> list[Place]:
    """The same lines with other runs of blank lines between them."""
    rows = [i for i, line in enumerate(lines) if line.strip()]
    wanted = [i for i, line in enumerate(search) if line.strip()]
    hits = exact([lines[i].rstrip() for i in rows], [search[i].rstrip() for i in wanted])
    places = []
    for hit in hits:
        found = rows[hit.start : hit.stop]
        mapped: list[int | None] = [None] * len(search)
        for index, row in zip(wanted, found, strict=True):
            mapped[index] = row
        places.append(Place(found[0], found[-1] + 1, tuple(mapped)))
    return places


TIERS: tuple[tuple[str, Callable[[Sequence[str], Sequence[str]], list[Place]]], ...] = (
    ("exact", exact),
    ("trailing white space", trailing_space),
    ("indentation", indentation),
    ("blank lines", blank_lines),
)


def find(lines: Sequence[str], search: Sequence[str]) -> tuple[str, list[Place]]:
    """The first tier with a hit, and all its places; ("", []) where there is none."""
    for tier, look in TIERS:
        places = look(lines, search)
        if places:
            return tier, places
    return "", []


# ---------------------------------------------------------------- decorations of copied text

_NUMBERED = re.compile(r"^[ \t]*(\d+)[ \t]*[|:\u2502][ ]?(.*)$")
_FENCE = re.compile(r"^[ \t]*(?:`{3,}|~{3,})\w*[ \t]*$")
_ELISION = re.compile(r"^[ \t]*(?:#|//)?[ \t]*(?:\.\.\.|\u2026)[ \t]*$")


def undecorated(
    search: Sequence[str], replace: Sequence[str]
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Readings of a block without line numbers, or without a fence inside its sections."""
    numbered = [_NUMBERED.match(line) for line in search]
    if all(m or not line.strip() for m, line in zip(numbered, search, strict=True)):
        numbers = [int(m[1]) for m in numbered if m]
        if numbers and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
            yield "line numbers", [m[2] if m else "" for m in numbered], _unnumbered(replace)
    if len(search) > 2 and _FENCE.match(search[0]) and _FENCE.match(search[-1]):
        inner = list(replace)
        if len(inner) >= 2 and _FENCE.match(inner[0]) and _FENCE.match(inner[-1]):
            inner = inner[1:-1]
        yield "section fences", list(search[1:-1]), inner


def _unnumbered(lines: Sequence[str]) -> list[str]:
    matches = [_NUMBERED.match(line) for line in lines]
    if all(m or not line.strip() for m, line in zip(matches, lines, strict=True)):
        return [m[2] if m else "" for m in matches]
    return list(lines)


def elided(
    search: Sequence[str], replace: Sequence[str]
) -> list[tuple[list[str], list[str]]] | None:
    """The pieces between `...` lines, where SEARCH and REPLACE have equally many of them; else None."""
    left, right = _pieces(search), _pieces(replace)
    if len(left) < 2 or len(left) != len(right) or not any(any(p) for p in left):
        return None
    return list(zip(left, right, strict=True))


def _pieces(lines: Sequence[str]) -> list[list[str]]:
    pieces: list[list[str]] = [[]]
    for line in lines:
        if _ELISION.match(line):
            pieces.append([])
        else:
            pieces[-1].append(line)
    return pieces


# ---------------------------------------------------------------- indentation


def indent_map(pairs: Sequence[tuple[str, str]]) -> IndentMap | None:
    """One rule that turns every first indentation into its second; None where there is none."""
    deeper = {there.removesuffix(here) for here, there in pairs if there.endswith(here)}
    if len(deeper) == 1 and all(there.endswith(here) for here, there in pairs):
        prefix = deeper.pop()
        if all(there == prefix + here for here, there in pairs):
            return lambda indent: prefix + indent
    shallower = {here.removesuffix(there) for here, there in pairs if here.endswith(there)}
    if len(shallower) == 1 and all(here.endswith(there) for here, there in pairs):
        cut = shallower.pop()
        if all(here == cut + there for here, there in pairs):
            return lambda indent: indent.removeprefix(cut) if indent.startswith(cut) else None
    return _other_unit(pairs)


def _other_unit(pairs: Sequence[tuple[str, str]]) -> IndentMap | None:
    """Tabs for spaces or one width for another: levels stay what they are."""
    units = {_unit(here, there) for here, there in pairs if here or there}
    if len(units) != 1:
        return None
    unit = units.pop()
    if unit is None:
        return None
    here_unit, there_unit = unit

    def mapped(indent: str) -> str | None:
        levels, rest = divmod(len(indent), len(here_unit))
        return there_unit * levels if not rest and indent == here_unit * levels else None

    return mapped


def _unit(here: str, there: str) -> tuple[str, str] | None:
    """The smallest pair of units that explains one line: (four spaces, tab), (two spaces, four), ..."""
    if not here or not there or len(set(here)) != 1 or len(set(there)) != 1:
        return None
    if here[0] == "\t":
        levels = len(here)
    elif there[0] == "\t":
        levels = len(there)
    else:
        return None  # spaces for spaces: a level cannot be told from a width
    if len(here) % levels or len(there) % levels:
        return None
    return here[: len(here) // levels], there[: len(there) // levels]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _run(start: int, length: int) -> Place:
    return Place(start, start + length, tuple(range(start, start + length)))
