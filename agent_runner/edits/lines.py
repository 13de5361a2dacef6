"""The lines of a text, and where a run of lines stands among them. Built only once plain search has failed."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import accumulate

BLANKS = " \t\r"
WORD = re.compile(r"\d+(?:\.\d+)*|\w+")  # a number is one word
_READ = 400  # characters of a line that are looked at for its words


class LineTable:
    """The lines of a text without their endings, as they are and normalised; each view is made at most once."""

    def __init__(self, text: str) -> None:
        self._raw = text.split("\n")
        self._length = len(text)
        self._open = self._raw[-1] != ""  # the last line has no line feed
        if not self._open:
            self._raw.pop()

    @cached_property
    def lines(self) -> list[str]:
        """Each line as it stands, a carriage return at its end left out."""
        if self._open:
            return [*(line.removesuffix("\r") for line in self._raw[:-1]), self._raw[-1]]
        return [line.removesuffix("\r") for line in self._raw]

    @cached_property
    def starts(self) -> list[int]:
        """Where each line begins, and the end of the text."""
        starts = [0, *accumulate(len(line) + 1 for line in self._raw)]
        starts[-1] = self._length
        return starts

    @cached_property
    def trimmed(self) -> list[str]:
        """Without trailing blanks."""
        return [line.rstrip(BLANKS) for line in self._raw]

    @cached_property
    def stripped(self) -> list[str]:
        """Without blanks at both ends."""
        return [line.strip(BLANKS) for line in self._raw]

    @cached_property
    def filled(self) -> list[int]:
        """Indexes of the lines that are not blank."""
        return [index for index, line in enumerate(self.trimmed) if line]

    @cached_property
    def rows_of_line(self) -> Mapping[str, list[int]]:
        """Stripped line -> where it stands."""
        rows: dict[str, list[int]] = defaultdict(list)
        for row, line in enumerate(self.stripped):
            rows[line].append(row)
        return rows

    @cached_property
    def rows_of_word(self) -> Mapping[str, list[int]]:
        """Word -> the lines that hold it."""
        rows: dict[str, list[int]] = defaultdict(list)
        for row, line in enumerate(self._raw):
            for word in words_of(line):
                rows[word].append(row)
        return rows


def words_of(line: str) -> set[str]:
    """The words in the first part of a line."""
    return set(WORD.findall(line[:_READ]))


def find_runs(keys: Sequence[str], wanted: Sequence[str], limit: int = 1000) -> list[int]:
    """Where `wanted` stands in `keys` as a run of neighbours (overlaps count); at most `limit` places.

    A plain search in the joined lines: it stays linear where a text repeats itself.
    """
    if not wanted or len(wanted) > len(keys):
        return []
    text = "\n".join(["", *keys, ""])
    needle = "\n".join(["", *wanted, ""])
    found: list[int] = []
    row = at = 0
    position = text.find(needle)
    while position != -1 and len(found) < limit:
        row += text.count("\n", at, position)
        at = position
        found.append(row)
        position = text.find(needle, position + 1)
    return found
