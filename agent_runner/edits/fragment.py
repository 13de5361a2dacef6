"""REPLACE read as Python: where its strings, comments, brackets and stub bodies are."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate

from agent_runner.edits.remarks import MARK

_BODY = re.compile(r"(?:async\s+def|def|class|except|case)\b")  # what may have `...` for its body
_NAMED = re.compile(r"\s*(?:async\s+)?(?:def|class)\s+\w+")
_QUOTED = re.compile(r"\s*[rRuU]?[\"']")
_NEAR = 20_000  # characters
_SIGN = re.compile(
    r"""
    \#[^\n]*+
    | "{3}(?:[^"\\]++|\\.|"(?!""))*+(?:"{3}|(?P<open>\Z|\\\Z))
    | '{3}(?:[^'\\]++|\\.|'(?!''))*+(?:'{3}|(?P<left>\Z|\\\Z))
    | "(?:[^"\\\n]++|\\.)*+"?
    | '(?:[^'\\\n]++|\\.)*+'?
    | [(\[{)\]}]
    """,
    re.DOTALL | re.VERBOSE,
)


class PythonFragment:
    """REPLACE as Python: its strings, comments and brackets, read with the file's text around it.

    A scan for signs rather than `tokenize`, which gives up on most fragments and is slow on long files.
    """

    def __init__(self, replace: Sequence[str], search: Sequence[str], original: str) -> None:
        self._replace = replace
        self._search = search
        self._original = original
        self._in_string: set[int] = set()
        self._comments: dict[int, int] = {}  # row -> column
        self._openers: dict[int, int] = {}  # row -> place of the innermost open bracket

    def in_string(self, row: int) -> bool:
        """Whether the line begins inside a string."""
        _ = self._text
        return row in self._in_string

    def split(self, row: int) -> tuple[str, str]:
        """A line's code and its comment."""
        _ = self._text
        line = self._replace[row]
        column = self._comments.get(row, len(line))
        return line[:column].strip(), line[column:].strip()

    def is_ellipsis(self, row: int, code: str) -> bool:
        """Whether a line of dots is the value `...`, or the whole body of what may have such a body."""
        opener = self._openers.get(row)
        if opener is None:
            return code == "..." and self._is_stub(row)
        if code.rstrip(",") != "...":
            return True
        if self._text[opener] == "[" and self._text[opener - 1 : opener].strip(" \n=,([{:"):
            return True
        above = self._text[opener + 1 : self._starts[row]].split("\n")
        return not any(is_code(line) for line in above)

    def hides_body(self, row: int) -> bool:
        """Whether `...` is the new body of a function or class whose body SEARCH writes out."""
        if row in self._openers:
            return False
        owner = row if _NAMED.match(self._replace[row]) else self._owner(row)
        named = None if owner is None else _NAMED.match(self._replace[owner])
        if owner is None or named is None:
            return False
        above = self._replace[owner - 1].strip() if owner else ""
        if above.startswith("@") and ("abstract" in above or "overload" in above):
            return False
        name = tuple(named[0].split())
        here, there = self._names[0].get(name, []), self._names[1][name]
        if len(here) != len(there):
            return False
        return _body_length(self._search, here[bisect_left(there, owner)]) > 1

    @cached_property
    def _names(self) -> tuple[_Names, _Names]:
        return _names(self._search), _names(self._replace)

    # ------------------------------------------------------------ stubs

    def _is_stub(self, row: int) -> bool:
        indent = depth(self._replace[row])
        below = self._next_code[row]
        if depth(self._line_after if below is None else self._replace[below]) >= indent:
            return False
        owner = self._owner(row)
        if owner is None or depth(self._replace[owner]) >= indent:
            return False
        line = self._replace[owner].lstrip()
        return _BODY.match(line) is not None or (owner == 0 and line[0] in ")]")

    def _owner(self, row: int) -> int | None:
        """The first line of the statement whose body begins, but for comments and a docstring, at this line."""
        last = row - 1
        while last >= 0 and not self._is_owner_end(last):
            if self.split(last)[0] and not self._is_docstring(last):
                return None
            last -= 1
        while last > 0 and (last in self._openers or last in self._in_string):
            last -= 1
        return last if last >= 0 else None

    def _is_owner_end(self, row: int) -> bool:
        return row not in self._in_string and self.split(row)[0].endswith(":")

    def _is_docstring(self, row: int) -> bool:
        return row in self._in_string or _QUOTED.match(self._replace[row]) is not None

    # ------------------------------------------------------------ scan

    @cached_property
    def _around(self) -> tuple[str, str]:
        """The file's text before and after SEARCH; nothing where it does not stand there as it is."""
        search = "\n".join(line.removesuffix("\r") for line in self._search)
        text = "\n" + self._original.replace("\r\n", "\n")
        place = text.find(f"\n{search}\n") if search.strip() else -1
        if place == -1:
            return "", ""
        return text[1 : place + 1], text[place + len(search) + 2 :]

    @cached_property
    def _line_after(self) -> str:
        lines = self._around[1][:_NEAR].split("\n")
        return next(filter(is_code, lines), "")

    @cached_property
    def _next_code(self) -> list[int | None]:
        return next_code(self._replace)

    @cached_property
    def _starts(self) -> list[int]:
        lengths = (len(line) + 1 for line in self._replace)
        return list(accumulate(lengths, initial=len(self._around[0])))[:-1]

    @cached_property
    def _text(self) -> str:
        """The file's text with REPLACE in it; made once, which fills the tables of rows."""
        before, after = self._around
        text = before + "\n".join([*self._replace, after])
        self._scan(text)
        return text

    def _scan(self, text: str) -> None:
        starts, row = self._starts, 0
        open_brackets: list[int] = []
        for sign in _SIGN.finditer(text):
            place, end = sign.span()
            while row < len(starts) and starts[row] <= place:
                if open_brackets:
                    self._openers[row] = open_brackets[-1]
                row += 1
            if row == len(starts) and place > starts[-1] + len(self._replace[-1]):
                return
            if sign["open"] is not None or sign["left"] is not None:
                break  # a string without an end: what follows cannot be told
            kind = sign[0][0]
            if kind == "#" and row and place >= starts[0]:
                self._comments[row - 1] = place - starts[row - 1]
            elif kind in "([{":
                open_brackets.append(place)
            elif kind in ")]}" and open_brackets:
                open_brackets.pop()
            while row < len(starts) and starts[row] < end:
                self._in_string.add(row)
                row += 1
        for late in range(row, len(starts)):
            if open_brackets:
                self._openers[late] = open_brackets[-1]


_Names = dict[tuple[str, ...], list[int]]


def _names(lines: Sequence[str]) -> _Names:
    """Where functions and classes of each name begin."""
    rows: _Names = defaultdict(list)
    for row, line in enumerate(lines):
        if named := _NAMED.match(line):
            rows[tuple(named[0].split())].append(row)
    return rows


def _body_length(lines: Sequence[str], owner: int) -> int:
    """How many lines of code lie under one that begins a function or class."""
    count = 0
    for line in lines[owner + 1 :]:
        if not is_code(line) or line.lstrip()[0] in ")]":
            continue
        if depth(line) <= depth(lines[owner]):
            break
        count += 1
    return count


def next_code(lines: Sequence[str]) -> list[int | None]:
    """Below each line, the next one that is neither blank nor a comment."""
    rows: list[int | None] = []
    row: int | None = None
    for index in range(len(lines) - 1, -1, -1):
        rows.append(row)
        row = index if is_code(lines[index]) else row
    return rows[::-1]


def is_code(line: str) -> bool:
    text = line.strip()
    return bool(text) and MARK.match(text) is None


def depth(line: str) -> int:
    return len(line) - len(line.lstrip())
