"""A reply's text -> its SEARCH/REPLACE blocks, and the faults in their form. No block is closed by guess.

Lines end at a line feed only: form feeds and Unicode line separators are text like any other.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent_runner.edits import messages

_HEAD = re.compile(r"([ \t]*)(<{5,9})[ \t]*SEARCH>?[ \t]*", re.IGNORECASE)
_DIVIDER = re.compile(r"([ \t]*)(={5,9})[ \t]*")
_TAIL = re.compile(r"([ \t]*)(>{5,9})[ \t]*REPLACE>?[ \t]*", re.IGNORECASE)

_SIGNS = frozenset("<=>-+&«»＜＞")  # what any marker begins with

# Lines that somebody meant as a marker: of another tool, reversed, too short or long, quoted, escaped, or with
# more text on the line.
_WORDS = r"(?:SEARCH|REPLACE|REPLACED|ORIGINAL|UPDATED|HEAD)"
_FOREIGN_OPENING = re.compile(
    rf"[ \t]*(?:<{{5,}}[ \t]*{_WORDS}\b.*|(?:>+[ \t]+)?<{{3,}}[ \t]*{_WORDS}>?[ \t]*|<{{3,4}}[ \t]*SEARCH\b.*"
    rf"|-{{5,}}[ \t]*SEARCH>?[ \t]*|>{{3,}}[ \t]*SEARCH>?[ \t]*"
    rf"|(?:(?:&lt;){{3,}}|[«＜]{{2,}})[ \t]*{_WORDS}\b.*)",
    re.IGNORECASE,
)
_FOREIGN_CLOSING = re.compile(
    rf"[ \t]*(?:>+[ \t]+)?(?:>{{4,}}[ \t]*{_WORDS}\b.*|>{{5,9}}[ \t]+\S+[ \t]*|>{{3}}[ \t]*REPLACE>?[ \t]*"
    rf"|\+{{5,}}[ \t]*REPLACE>?[ \t]*|<{{3,}}[ \t]*REPLACE>?[ \t]*"
    rf"|(?:(?:&gt;){{3,}}|[»＞]{{2,}})[ \t]*{_WORDS}\b.*)",
    re.IGNORECASE,
)
_BARE_OPENING = re.compile(r"[ \t]*<{5,9}[ \t]*")  # one only where a divider follows
_CUT_OFF = re.compile(r"[ \t]*<{3,9}[ \t]*(?:S(?:E(?:A(?:RC?)?)?)?)?", re.IGNORECASE)
FENCE = re.compile(r"[ \t]*+(`{3,}+|~{3,}+)[ \t]*+([^`]*)")  # possessive: linear on any line

Lines = tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """One well-formed block. `above` is the reply's text between the block before and this one."""

    number: int
    line: int  # of its SEARCH marker in the reply, from 1
    above: Lines
    search: Lines
    replace: Lines
    indent: str = ""  # of its markers

    def readings(self) -> list[tuple[Lines, Lines]]:
        """(SEARCH, REPLACE) as written and, where all of it is indented like its markers, also without that."""
        if not self.indent:
            return [(self.search, self.replace)]
        body = self.search + self.replace
        if not all(line.startswith(self.indent) or not line.strip() for line in body):
            return [(self.search, self.replace)]
        shorter = tuple(line.removeprefix(self.indent) for line in body)
        count = len(self.search)
        return [(self.search, self.replace), (shorter[:count], shorter[count:])]


@dataclass(frozen=True)
class Fault:
    """Something that was meant as a block and is not one."""

    number: int
    line: int
    above: Lines
    message: str


@dataclass(frozen=True)
class _Mark:
    index: int
    length: int
    indent: str


@dataclass
class _Marks:
    """The marker lines of one kind, to be asked for the first one in a range: of any form, or of one form."""

    all: list[int] = field(default_factory=list)
    by_form: dict[tuple[int, str], list[int]] = field(default_factory=lambda: defaultdict(list))

    def add(self, index: int, match: re.Match[str]) -> None:
        self.all.append(index)
        self.by_form[(len(match[2]), match[1])].append(index)

    def first(self, start: int, end: int, form: tuple[int, str] | None = None) -> int | None:
        found = self.within(start, end, form)
        return found[0] if found else None

    def within(self, start: int, end: int, form: tuple[int, str] | None = None) -> Sequence[int]:
        """Up to two of them with start <= index < end."""
        indexes = self.all if form is None else self.by_form.get(form, [])
        low = bisect_left(indexes, start)
        return indexes[low : min(low + 2, bisect_left(indexes, end))]

    def between(self, start: int, end: int) -> Sequence[int]:
        """All of them with start <= index < end."""
        return self.all[bisect_left(self.all, start) : bisect_left(self.all, end)]


def split_lines(text: str) -> list[str]:
    """Lines without their endings (line feed, or carriage return and line feed)."""
    return [line.removesuffix("\r") for line in text.split("\n")]


def parse(reply: str) -> list[Block | Fault]:
    """Every block of the reply in order, well-formed or not. Empty: the reply holds no edit."""
    return _Parser(split_lines(reply.removeprefix("\ufeff"))).items()


class _Parser:
    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._heads, self._dividers, self._tails = _Marks(), _Marks(), _Marks()
        self._opening: list[int] = []  # foreign
        self._closing: list[int] = []
        for index, line in enumerate(lines):
            if line.lstrip(" \t")[:1] in _SIGNS:
                self._classify(index, line)
        self._opening = [index for index in self._opening if self._opens(index)]
        self._ends = sorted([*self._tails.all, *self._closing])
        self._found: list[Block | Fault] = []
        self._after = 0  # first line that belongs to no block yet

    def _classify(self, index: int, line: str) -> None:
        for marks, pattern in (
            (self._heads, _HEAD),
            (self._dividers, _DIVIDER),
            (self._tails, _TAIL),
        ):
            match = pattern.fullmatch(line)
            if match:
                marks.add(index, match)
                return
        if _FOREIGN_OPENING.fullmatch(line) or _BARE_OPENING.fullmatch(line):
            self._opening.append(index)
        elif _FOREIGN_CLOSING.fullmatch(line):
            self._closing.append(index)

    def _opens(self, index: int) -> bool:
        """A marker without its word opens a block where a divider comes before the next SEARCH marker."""
        if not _BARE_OPENING.fullmatch(self._lines[index]):
            return True
        end = self._heads.first(index + 1, len(self._lines))
        end = len(self._lines) if end is None else end
        return self._dividers.first(index + 1, end) is not None

    def items(self) -> list[Block | Fault]:
        starts = sorted([*self._heads.all, *self._tails.all, *self._opening, *self._closing])
        heads, openings = set(self._heads.all), set(self._opening)
        for index in starts:
            if index < self._after:
                continue
            if index in heads:
                self._take_block(index)
            elif index in openings:
                self._take_foreign(index)
            else:
                self._fault(index, messages.stray_marker(self._lines[index]), index + 1)
        self._check_end()
        return self._found

    def _take_block(self, head: int) -> None:
        match = _HEAD.fullmatch(self._lines[head])
        assert match is not None  # it is in self._heads
        form = (len(match[2]), match[1])
        tail = self._tail(head, form)
        if tail is None:
            following = self._heads.first(head + 1, len(self._lines))
            message = messages.unclosed(None if following is None else following + 1)
            self._fault(head, message, len(self._lines) if following is None else following)
            return
        dividers = self._dividers.within(head + 1, tail, form)
        if not dividers:
            dividers = self._dividers.within(head + 1, tail)
        if len(dividers) != 1:
            lines = [index + 1 for index in dividers]
            self._fault(head, messages.wrong_dividers(lines, head + 1, tail + 1), tail + 1)
            return
        swallowed = self._swallowed(head, dividers[0], tail, form)
        if swallowed is not None:
            self._fault(head, messages.unclosed(swallowed + 1), swallowed)
            return
        self._found.append(
            Block(
                number=len(self._found) + 1,
                line=head + 1,
                above=tuple(self._lines[self._after : head]),
                search=tuple(self._lines[head + 1 : dividers[0]]),
                replace=tuple(self._lines[dividers[0] + 1 : tail]),
                indent=match[1],
            )
        )
        self._after = tail + 1

    def _tail(self, head: int, form: tuple[int, str]) -> int | None:
        """The first REPLACE marker of the same form before another such SEARCH, else any before any."""
        end = len(self._lines)
        limit = self._heads.first(head + 1, end, form)
        same = self._tails.first(head + 1, end if limit is None else limit, form)
        if same is not None:
            return same
        limit = self._heads.first(head + 1, end)
        return self._tails.first(head + 1, end if limit is None else limit)

    def _swallowed(self, head: int, divider: int, tail: int, form: tuple[int, str]) -> int | None:
        """A SEARCH marker in REPLACE that may well begin the next block, so that this one's end is missing.

        It is text where it is shorter than this block's, is closed by its own REPLACE marker, or stands in
        SEARCH too.
        """
        search = frozenset(self._lines[head + 1 : divider])
        for inner in self._heads.between(divider + 1, tail):
            match = _HEAD.fullmatch(self._lines[inner])
            assert match is not None  # it is in self._heads
            own = (len(match[2]), match[1])
            closed = self._tails.first(inner + 1, tail, own) is not None
            if own[0] >= form[0] and not closed and self._lines[inner] not in search:
                return inner
        return None

    def _take_foreign(self, index: int) -> None:
        """A marker that is not ours: one fault up to the line that closes it, where there is one."""
        limit = self._heads.first(index + 1, len(self._lines))
        if limit is None:
            limit = len(self._lines)
        position = bisect_right(self._ends, index)
        after = index + 1
        if position < len(self._ends) and self._ends[position] < limit:
            after = self._ends[position] + 1
        self._fault(index, messages.foreign_marker(self._lines[index]), after)

    def _fault(self, index: int, message: str, after: int) -> None:
        above = tuple(self._lines[self._after : index])
        self._found.append(Fault(len(self._found) + 1, index + 1, above, message))
        self._after = max(after, index + 1)

    def _check_end(self) -> None:
        """A reply that stops where another block was about to begin was cut off."""
        rest = [
            index for index in range(self._after, len(self._lines)) if self._lines[index].strip()
        ]
        if not self._found or not rest:
            return
        last = self._lines[rest[-1]]
        match = FENCE.fullmatch(last)
        opened = match is not None and bool(match[2].strip())
        if opened or _CUT_OFF.fullmatch(last):
            self._fault(rest[-1], messages.cut_off(last), len(self._lines))
