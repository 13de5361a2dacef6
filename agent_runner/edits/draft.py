"""A file while its blocks are applied: the text so far, and which parts of it are the original's."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

BOM = "\ufeff"


@dataclass(frozen=True)
class Kept:
    """A stretch of the original."""

    start: int
    end: int


@dataclass(frozen=True)
class New:
    """Text that a block put in."""

    text: str
    block: int


class LineTable:
    """The lines of a text, without their endings, and where each begins. Built only when plain search fails."""

    def __init__(self, text: str) -> None:
        raw = text.split("\n")
        lengths = [len(line) + 1 for line in raw]
        self.starts: list[int] = [0, *accumulate(lengths)]
        self.starts[-1] = len(text)
        last_is_line = raw[-1] != ""
        if not last_is_line:
            raw.pop()
            self.starts.pop()
        if "\r" in text:
            tail = raw[-1:] if last_is_line else []
            body = raw[: len(raw) - len(tail)]
            raw = [line.removesuffix("\r") for line in body] + tail
        self.lines = raw

    @cached_property
    def trimmed(self) -> list[str]:
        """Without trailing blanks."""
        return [line.rstrip(" \t\r") for line in self.lines]

    @cached_property
    def stripped(self) -> list[str]:
        """Without blanks at both ends."""
        return [line.strip(" \t\r") for line in self.lines]

    @cached_property
    def filled(self) -> list[int]:
        """Indexes of the lines that are not blank."""
        return [index for index, line in enumerate(self.trimmed) if line]


class Draft:
    """One file's text while blocks change it. Offsets are into `text` unless they are called original."""

    def __init__(self, content: str) -> None:
        self.bom = BOM if content.startswith(BOM) else ""
        self.original = content.removeprefix(BOM)
        self.text = self.original
        self.parts: list[Kept | New] = [Kept(0, len(self.original))] if self.original else []
        self.earlier: list[tuple[int, str]] = []  # (block, the text before it)
        self._table: LineTable | None = None

    @property
    def table(self) -> LineTable:
        if self._table is None:
            self._table = LineTable(self.text)
        return self._table

    @property
    def content(self) -> str:
        """The whole text as it will be written."""
        return self.bom + self.text

    def splice(
        self, start: int, end: int, pieces: Sequence[tuple[int, int] | str], block: int
    ) -> None:
        """Put `pieces` in place of text[start:end]: ranges of the present text to keep, and new text."""
        parts = self._cut(0, start)
        texts: list[str] = [self.text[:start]]
        for piece in pieces:
            if isinstance(piece, str):
                parts.append(New(piece, block))
                texts.append(piece)
            else:
                parts += self._cut(*piece)
                texts.append(self.text[slice(*piece)])
        parts += self._cut(end, len(self.text))
        texts.append(self.text[end:])
        self.earlier.append((block, self.text))
        self.text = "".join(texts)
        self.parts = _joined(parts)
        self._table = None

    def is_original(self, start: int, end: int) -> bool:
        """Whether text[start:end] stands wholly in the original's lines."""
        return all(isinstance(part, Kept) for part in self._cut(start, end))

    def original_line(self, offset: int) -> int | None:
        """The line of the original at this offset, from 1; None inside text that a block put in."""
        position = 0
        for part in self.parts:
            length = part.end - part.start if isinstance(part, Kept) else len(part.text)
            if position <= offset < position + length:
                if isinstance(part, New):
                    return None
                return self.original.count("\n", 0, part.start + offset - position) + 1
            position += length
        return None

    def block_at(self, offset: int) -> int | None:
        """The block that put in the text at this offset."""
        position = 0
        for part in self.parts:
            length = part.end - part.start if isinstance(part, Kept) else len(part.text)
            if position <= offset < position + length:
                return part.block if isinstance(part, New) else None
            position += length
        return None

    def _cut(self, start: int, end: int) -> list[Kept | New]:
        found: list[Kept | New] = []
        position = 0
        for part in self.parts:
            length = part.end - part.start if isinstance(part, Kept) else len(part.text)
            low, high = max(start, position), min(end, position + length)
            if low < high:
                skip, stop = low - position, high - position
                if isinstance(part, Kept):
                    found.append(Kept(part.start + skip, part.start + stop))
                else:
                    found.append(New(part.text[skip:stop], part.block))
            position += length
            if position >= end:
                break
        return found


def _joined(parts: list[Kept | New]) -> list[Kept | New]:
    joined: list[Kept | New] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, Kept) and isinstance(last, Kept) and last.end == part.start:
            joined[-1] = Kept(last.start, part.end)
        else:
            joined.append(part)
    return joined


def find_runs(keys: Sequence[str], wanted: Sequence[str], limit: int = 1000) -> list[int]:
    """Where `wanted` stands in `keys` as a run of neighbours (overlaps count); at most `limit` places.

    Lines become integers, so that the search itself is one of bytes and cannot slow down on repetitive files.
    """
    numbers: dict[str, int] = {}
    for key in wanted:
        numbers.setdefault(key, len(numbers) + 1)
    if not wanted or len(wanted) > len(keys):
        return []
    width = array("I").itemsize
    haystack = array("I", [numbers.get(key, 0) for key in keys]).tobytes()
    needle = array("I", [numbers[key] for key in wanted]).tobytes()
    found: list[int] = []
    position = haystack.find(needle)
    while position != -1 and len(found) < limit:
        if position % width == 0:
            found.append(position // width)
            position = haystack.find(needle, position + width)
        else:
            position = haystack.find(needle, position + 1)
    return found
