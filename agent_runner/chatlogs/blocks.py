"""The lines of an aider log, told apart by who spoke.

aider writes three things (its `io.py`): a user's message as `#### ` lines after an empty line; its own
messages as `> ` lines, each message ended by two spaces; and the model's reply as it is, between empty lines.
A reply may itself hold lines that begin like that (markdown headings, quotations, comments in code). They are
told apart by what aider always does and a model hardly ever: the two spaces, the empty line before, and by
the fences and SEARCH/REPLACE blocks of the reply, which aider's lines cannot interrupt.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

USER, TOOL = "#### ", "> "
LINE_BREAK = "  "  # what aider ends its lines with; gone where an editor trimmed the file

_SESSION = re.compile(r"# aider chat started at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\s*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})([^`]*)")
_SEARCH = re.compile(r"<{5,9} SEARCH\s*")
_REPLACE = re.compile(r">{5,9} REPLACE\s*")
# What aider writes after a reply, and the loop around it after a run: no fence reaches beyond these.
_AFTER_REPLY = re.compile(
    r"> Tokens: \S+ sent, .*received\..*|> Applied edit to \S.*|#### Run failed with the following error.*"
)

Speaker = Literal["session", "user", "reply", "tool"]


@dataclass(frozen=True)
class Block:
    """Consecutive lines of one speaker; `start` is the index of the first."""

    speaker: Speaker
    start: int
    lines: tuple[str, ...]


def split_blocks(lines: list[str]) -> list[Block]:
    """Divide a whole log. Empty lines around a block are left out, those inside a reply are kept."""
    return list(_Splitter(lines).blocks())


class _Splitter:
    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.trimmed = not any(x.startswith(USER) and x.endswith(LINE_BREAK) for x in self.lines)
        self.limits = [i for i in range(len(self.lines)) if _AFTER_REPLY.fullmatch(self.lines[i])]
        self.unclosed: set[tuple[str, int, int]] = set()  # marks that have no end before a line

    def blocks(self) -> Iterator[Block]:
        i = 0
        while i < len(self.lines):
            if not self.lines[i].strip():
                i += 1
                continue
            speaker, end = self._block_at(i)
            yield Block(speaker, i, tuple(self.lines[i:end]))
            i = end

    def _block_at(self, i: int) -> tuple[Speaker, int]:
        """Who speaks from line `i` on, which is not empty, and the line after that."""
        if _SESSION.fullmatch(self.lines[i]):
            return "session", i + 1
        if self._is_user(i):
            return "user", self._end_of_user(i)
        # A line that follows one of aider's without an empty line is the rest of its message.
        if self._is_tool(i) or (i > 0 and self.lines[i - 1].strip()):
            return "tool", self._end_of_tool(i)
        return "reply", self._end_of_reply(i)

    def _is_user(self, i: int) -> bool:
        line = self.lines[i]
        if self.trimmed:
            return line.startswith(USER) or line == USER.strip()
        return line.startswith(USER) and line.endswith(LINE_BREAK)

    def _is_tool(self, i: int) -> bool:
        line = self.lines[i]
        return line.startswith(TOOL) and (self.trimmed or line.endswith(LINE_BREAK))

    def _end_of_user(self, i: int) -> int:
        while i < len(self.lines) and self._is_user(i):
            i += 1
        return i

    def _end_of_tool(self, i: int) -> int:
        while i < len(self.lines) and self.lines[i].strip() and not self._is_user(i):
            i += 1
        return i

    def _end_of_reply(self, i: int) -> int:
        """Skips what is fenced; ends before aider's next line that stands after an empty one."""
        end = i + 1
        while i < len(self.lines):
            line = self.lines[i]
            if (closing := self._closing(i)) is not None:
                i = closing
            elif not self.lines[i - 1].strip() and (
                self._is_user(i) or self._is_tool(i) or _SESSION.fullmatch(line)
            ):
                break
            if self.lines[i].strip():
                end = i + 1
            i += 1
        return end

    def _closing(self, i: int) -> int | None:
        """The last line of what opens at line `i`, a SEARCH/REPLACE block or a fence; None if neither."""
        if _SEARCH.fullmatch(self.lines[i]):
            return self._find(i, "SEARCH", 0)
        fence = _FENCE.fullmatch(self.lines[i])
        return self._find(i, fence[1][0], len(fence[1])) if fence else None

    def _find(self, start: int, mark: str, length: int) -> int | None:
        """A fence that is never closed (a reply that was cut off) is no fence."""
        following = bisect_right(self.limits, start)
        limit = self.limits[following] if following < len(self.limits) else len(self.lines)
        if (mark, length, limit) in self.unclosed:
            return None
        i = start + 1
        while i < limit:
            if self._closes(self.lines[i], mark, length):
                return i
            if mark != "SEARCH" and _SEARCH.fullmatch(self.lines[i]):
                i = self._find(i, "SEARCH", 0) or i
            i += 1
        self.unclosed.add((mark, length, limit))
        return None

    @staticmethod
    def _closes(line: str, mark: str, length: int) -> bool:
        if mark == "SEARCH":
            return _REPLACE.fullmatch(line) is not None
        fence = _FENCE.fullmatch(line)
        return (
            fence is not None
            and fence[1][0] == mark
            and len(fence[1]) >= length
            and not fence[2].strip()
        )
