"""A file as lines that keep their own bytes, and know whether they are the file's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BOM = "\ufeff"


@dataclass(frozen=True)
class Line:
    """One line without its end. `block` is the number of the block that wrote it; 0 = the file's own."""

    text: str
    end: str
    block: int = 0


class Document:
    """The text of one file while blocks are applied to it."""

    def __init__(self, text: str) -> None:
        self._bom = BOM if text.startswith(BOM) else ""
        self.lines: list[Line] = []
        rest = text.removeprefix(BOM)
        pieces = rest.split("\n")
        for piece in pieces[:-1]:
            if piece.endswith("\r"):
                self.lines.append(Line(piece[:-1], "\r\n"))
            else:
                self.lines.append(Line(piece, "\n"))
        if pieces[-1]:
            self.lines.append(Line(pieces[-1], ""))
        self._original = text

    @property
    def text(self) -> str:
        return self._bom + "".join(line.text + line.end for line in self.lines)

    @property
    def original(self) -> str:
        return self._original

    def texts(self) -> list[str]:
        return [line.text for line in self.lines]

    def replace(self, start: int, stop: int, new: Sequence[Line | str], block: int) -> None:
        """Put `new` in place of lines start..stop. Strings are new lines and take the region's line end."""
        end = self._end_near(start, stop)
        was_last = stop == len(self.lines)
        unfinished = was_last and bool(self.lines) and self.lines[-1].end == ""
        written = [item if isinstance(item, Line) else Line(item, end, block) for item in new]
        written = [Line(line.text, line.end or end, line.block) for line in written]
        if was_last and written and unfinished:
            written[-1] = Line(written[-1].text, "", written[-1].block)
        self.lines[start:stop] = written
        if was_last and not written and unfinished and self.lines:
            last = self.lines[-1]
            self.lines[-1] = Line(last.text, "", last.block)

    def _end_near(self, start: int, stop: int) -> str:
        region = self.lines[start:stop] or self.lines[max(0, start - 1) : start + 1]
        for line in (*region, *self.lines):
            if line.end:
                return line.end
        return "\n"
