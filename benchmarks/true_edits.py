"""Random true edits of real files: a run of lines, each kept, changed, deleted or inserted."""

from __future__ import annotations

import keyword
import re
import warnings
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import NamedTuple


class Row(NamedTuple):
    """A line of an edit: what SEARCH shows (None: inserted) and what REPLACE shows (None: deleted)."""

    old: str | None
    new: str | None

    @property
    def kept(self) -> str:
        """The text of a line that stays and says something; else nothing."""
        text = self.old if self.old == self.new and self.old is not None else ""
        return text if text.strip() not in ("", "...") else ""


class Edit(NamedTuple):
    """What becomes of the lines of a file from `start` on."""

    lines: list[str]
    start: int
    rows: list[Row]

    @property
    def end(self) -> int:
        return self.start + sum(row.old is not None for row in self.rows)


def indent_of(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def filled(lines: list[str]) -> list[str]:
    """What engines that look past white space see of the lines."""
    return [line.strip() for line in lines if line.strip()]


def count(lines: list[str], run: list[str]) -> int:
    """How often a run stands there, white space aside."""
    whole, part = filled(lines), filled(run)
    starts = (row for row, line in enumerate(whole) if part and line == part[0])
    return sum(whole[row : row + len(part)] == part for row in starts)


def parses(lines: list[str]) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        try:
            compile("\n".join(lines), "<edited>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            return False
    return True


def result(edits: list[Edit]) -> list[str]:
    """The file's lines with all edits made, by direct operations on lines."""
    lines = list(edits[0].lines)
    for edit in sorted(edits, key=lambda edit: -edit.start):
        lines[edit.start : edit.end] = [row.new for row in edit.rows if row.new is not None]
    return lines


def changed(rng: Random, line: str) -> str:
    """The line with a number or a name in it changed."""
    words = [m for m in re.finditer(r"\b(\d+|[a-z_]{4,})\b", line) if not keyword.iskeyword(m[0])]
    if not words:
        return line
    word = rng.choice(words)
    new = str(int(word[0]) + 1) if word[0].isdigit() else word[0] + "_2"
    return f"{line[: word.start()]}{new}{line[word.end() :]}".rstrip()


def inserted(rng: Random, line: str, indented: Callable[[str], str]) -> list[Row]:
    """New lines below a line, indented as the file is."""
    indent = spaces(indent_of(line)) + ("    " if line.rstrip().endswith(":") else "")
    number = rng.randrange(1000)
    loop = [f"for step_{number} in range(3):", f"    print(step_{number})"]
    helper = ["", f"def helper_{number}(x):", "    y = x + 1", "", "    return y", ""]
    new = rng.choice([[f"extra_{number} = {number}"], [f"# note {number}"], loop, helper])
    return [Row(None, indented(indent + text) if text else "") for text in new]


def random_rows(rng: Random, lines: list[str], start: int, end: int) -> list[Row]:
    """The lines from start to end with some of them changed, some deleted and some inserted."""
    indented = tabs if any(line.startswith("\t") for line in lines) else str
    rows: list[Row] = []
    for line in lines[start:end]:
        roll = rng.random() if line.strip() else 1.0
        rows.append(Row(line, None if roll < 0.08 else changed(rng, line) if roll < 0.22 else line))
        rows += inserted(rng, line, indented) if 0.2 < roll < 0.32 else []
    return rows


def place(rng: Random, lines: list[str], twice: bool) -> tuple[int, int] | None:
    """(start, length) of lines to edit, often the file's first or last ones; with `twice`, lines that recur."""
    if twice:
        length = rng.randrange(2, 6)
        runs = [tuple(lines[row : row + length]) for row in range(len(lines) - length)]
        times = Counter(runs)
        rows = [row for row, run in enumerate(runs) if times[run] > 1]
        return (rng.choice(rows), length) if rows else None
    length = rng.choice([2, 3, 4, 6, 8, 12, 20, 40])
    last = max(0, len(lines) - length)
    return rng.choice([0, last, *(rng.randrange(last + 1) for _ in range(6))]), length


def random_edits(
    rng: Random, lines: list[str], number: int, *, twice: bool, breaks: bool
) -> list[Edit]:
    """Edits with lines between them; none where chance finds none that fit.

    `twice`: of lines that stand in the file twice. `breaks`: with a result that is no Python.
    """
    edits: list[Edit] = []
    for _ in range(number):
        found = place(rng, lines, twice)
        if found is None:
            return []
        start, length = found
        run = lines[start : start + length]
        edit = Edit(lines, start, random_rows(rng, lines, start, start + length))
        near = any(edit.start <= other.end and other.start <= edit.end for other in edits)
        if near or len(filled(run)) < 2 or (count(lines, run) > 1) is not twice:
            return []
        if filled(result([edit])) == filled(lines):
            return []
        edits.append(edit)
    return edits if parses(result(edits)) is not breaks else []


def tabs(line: str) -> str:
    return re.sub(r"^(?: {4})+", lambda m: "\t" * (len(m[0]) // 4), line)


def spaces(line: str) -> str:
    return re.sub(r"^\t+", lambda m: "    " * len(m[0]), line)
