"""A file while its blocks are applied: the text so far, and which parts of it are the original's."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from agent_runner.edits.lines import LineTable

BOM = "\ufeff"


class Kept(NamedTuple):
    """A stretch of the original."""

    start: int
    end: int


class New(NamedTuple):
    """Text that a block put in."""

    text: str
    block: int


class Change(NamedTuple):
    """original[low:high], whole lines, became `new`."""

    low: int
    high: int
    new: str


class _Splice(NamedTuple):
    """text[start:start + len(new)] took the place of `old`."""

    block: int
    start: int
    old: str
    new: int  # characters


class Draft:
    """One file's text while blocks change it. Offsets are into `text` unless they are called original."""

    def __init__(self, content: str) -> None:
        self.bom = BOM if content.startswith(BOM) else ""
        self.original = content.removeprefix(BOM)
        self.text = self.original
        self.parts: list[Kept | New] = [Kept(0, len(self.original))] if self.original else []
        self._starts = [0] if self.original else []  # of the parts, in `text`
        self._done: list[_Splice] = []
        self._table: LineTable | None = None
        self._counted = (0, 0)  # an offset of the original, and the line feeds before it

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
        text, middle = self.text, list[Kept | New]()
        texts: list[str] = []
        for piece in pieces:
            if isinstance(piece, str):
                middle.append(New(piece, block))
                texts.append(piece)
            else:
                middle += self._cut(*piece)
                texts.append(text[piece[0] : piece[1]])
        new = "".join(texts)
        self._done.append(_Splice(block, start, text[start:end], len(new)))
        self._replace_parts(start, end, middle, len(new))
        self.text = f"{text[:start]}{new}{text[end:]}"
        self._table = None

    def _replace_parts(self, start: int, end: int, middle: list[Kept | New], length: int) -> None:
        # With one part more on each side, so that what has become neighbours is joined.
        low = max(bisect_right(self._starts, start) - 2, 0)
        high = min(bisect_right(self._starts, end) + 1, len(self.parts))
        begin = self._starts[low] if self.parts else 0
        stop = self._starts[high] if high < len(self.parts) else len(self.text)
        parts = _joined([*self._cut(begin, start), *middle, *self._cut(end, stop)])
        starts = list(accumulate(map(_length, parts), initial=begin))[:-1]
        shift = length - (end - start)
        self.parts[low:high] = parts
        self._starts[low:] = [*starts, *[at + shift for at in self._starts[high:]]]

    def earlier(self) -> Iterator[tuple[int, str]]:
        """(block, the text before it), the last block first."""
        text = self.text
        for done in reversed(self._done):
            text = "".join([text[: done.start], done.old, text[done.start + done.new :]])
            yield done.block, text

    def changes(self) -> list[Change]:
        """What the blocks did, in the original's order: everything between the stretches that were kept."""
        changes: list[Change] = []
        new: list[str] = []
        position = 0
        for part in [*self.parts, Kept(len(self.original), len(self.original))]:
            if not isinstance(part, Kept):
                new.append(part.text)
                continue
            change = Change(position, part.start, "".join(new))
            if self.original[change.low : change.high] != change.new:
                changes.append(change)
            new, position = [], part.end
        return changes

    def is_original(self, start: int, end: int) -> bool:
        """Whether text[start:end] stands wholly in the original's lines."""
        return all(isinstance(part, Kept) for part in self._cut(start, end))

    def original_line(self, offset: int) -> int | None:
        """The line of the original at this offset, from 1; None inside text that a block put in."""
        at, part = self._part_at(offset)
        if not isinstance(part, Kept):
            return None
        return self.lines_above(part.start + offset - at) + 1

    def lines_above(self, offset: int) -> int:
        """The line feeds of the original before an offset, counted from the last offset asked for."""
        at, count = self._counted
        if offset >= at:
            count += self.original.count("\n", at, offset)
        else:
            count -= self.original.count("\n", offset, at)
        self._counted = (offset, count)
        return count

    def block_at(self, offset: int) -> int | None:
        """The block that put in the text at this offset."""
        _, part = self._part_at(offset)
        return part.block if isinstance(part, New) else None

    def _part_at(self, offset: int) -> tuple[int, Kept | New | None]:
        """(where it begins, the part that holds this offset)."""
        if not 0 <= offset < len(self.text):
            return offset, None
        index = bisect_right(self._starts, offset) - 1
        return self._starts[index], self.parts[index]

    def _cut(self, start: int, end: int) -> list[Kept | New]:
        """The parts of text[start:end]."""
        found: list[Kept | New] = []
        for index in range(max(bisect_right(self._starts, start) - 1, 0), len(self.parts)):
            at, part = self._starts[index], self.parts[index]
            if at >= end:
                break
            skip, stop = max(start - at, 0), min(end - at, _length(part))
            if skip >= stop:
                continue
            if isinstance(part, Kept):
                found.append(Kept(part.start + skip, part.start + stop))
            else:
                found.append(New(part.text[skip:stop], part.block))
        return found


def _length(part: Kept | New) -> int:
    return part.end - part.start if isinstance(part, Kept) else len(part.text)


def _joined(parts: list[Kept | New]) -> list[Kept | New]:
    joined: list[Kept | New] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, Kept) and isinstance(last, Kept) and last.end == part.start:
            joined[-1] = Kept(last.start, part.end)
        else:
            joined.append(part)
    return joined
