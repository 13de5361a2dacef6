"""Replies with the slips that models make, each with what their author meant: seeded, for both engines alike.

What a true edit makes of its file is known from its rows alone. A slip spoils how the reply shows the rows, or
the file that they stand in.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from true_edits import Edit, Row, count, indent_of, parses, random_edits, result, spaces, tabs


@dataclass(frozen=True)
class Case:
    """A reply about the file `name`, and the text that its author meant. `other` may not be touched."""

    slips: list[Slip]
    name: str
    text: str
    want: str
    blocks: list[str]
    heading: str
    other: tuple[str, str] = ("", "")
    ending: str = "\n"
    cut: int = 0  # characters that the end of the reply lacks

    @property
    def reply(self) -> str:
        parts = [f"{self.heading}\n```python\n{block}```\n" for block in self.blocks]
        text = "\n".join(["The runs show that this ought to be changed.\n", *parts])
        return text[: len(text) - self.cut].replace("\n", self.ending)

    @property
    def applies(self) -> bool:
        """Whether the reply ought to be applied; else refused."""
        return all(slip.applies for slip in self.slips)


Show = Callable[[Random, Edit], list[Row] | None]  # None: it does not fit the edit


@dataclass(frozen=True)
class Slip:
    """One slip. Of a `group` a reply carries one; a slip of the group "alone" comes by itself."""

    name: str
    applies: bool = True
    group: str = ""
    edits: int = 1
    breaks: bool = False  # the edit's result is no Python
    twice: bool = False  # the edit's lines stand in the file twice
    file: Callable[[Random, str], str] | None = None  # what the file's lines are
    show: Show | None = None  # how the reply shows the edit
    case: Callable[[Random, Case], Case] | None = None
    section: str = "{}"  # what SEARCH and REPLACE each are written as


# ---------------------------------------------------------------- how a reply shows them


def each(rows: list[Row], show: Callable[[str], str]) -> list[Row]:
    """All lines of both sections shown so."""
    return [Row(*(text if text is None else show(text) for text in row)) for row in rows]


def dedented(_: Random, edit: Edit) -> list[Row] | None:
    texts = [text for row in edit.rows for text in row if text and text.strip()]
    width = min(len(indent_of(text)) for text in texts)
    return each(edit.rows, lambda text: text[width:]) if width else None


def with_blanks(rng: Random, edit: Edit) -> list[Row] | None:
    """Blanks at the ends of lines that stay, where the file has none."""
    ends = [rng.choice(["", " ", "  "]) if row.kept else "" for row in edit.rows]
    rows = [
        Row(row.kept + end, row.kept + end) if end else row
        for row, end in zip(edit.rows, ends, strict=True)
    ]
    return rows if any(ends) else None


def blank_lines(times: int) -> Show:
    """The blank lines that stay, shown so many times."""

    def show(_: Random, edit: Edit) -> list[Row] | None:
        rows = [row for row in edit.rows for _ in range(times if row == ("", "") else 1)]
        return rows if len(rows) != len(edit.rows) else None

    return show


def numbered(rng: Random, edit: Edit) -> list[Row]:
    """Line numbers before SEARCH, and before REPLACE too or not."""
    form = rng.choice(["{:5d} | {}", "{:6d}\t{}", "{}: {}"])
    new_form = rng.choice([form, "{1}"])
    old, new = itertools.count(edit.start + 1), itertools.count(edit.start + 1)
    return [
        Row(
            None if row.old is None else form.format(next(old), row.old),
            None if row.new is None else new_form.format(next(new), row.new),
        )
        for row in edit.rows
    ]


def inner_run(rng: Random, rows: list[Row]) -> tuple[list[Row], list[Row], list[Row]] | None:
    """Three or more neighbours that stay, and the rows above and below."""
    runs = []
    for start in range(1, len(rows) - 3):
        end = start
        while end < len(rows) - 1 and rows[end].old == rows[end].new:
            end += 1
        if end - start >= 3 and rows[start].kept and rows[end - 1].kept:
            runs.append((rows[:start], rows[start:end], rows[end:]))
    return rng.choice(runs) if runs else None


def elided(rng: Random, edit: Edit) -> list[Row] | None:
    """A line `...` in both for lines that stay, where each piece that is left stands in the file once."""
    run = inner_run(rng, edit.rows)
    if run is None:
        return None
    above, inner, below = run
    pieces = [[row.old for row in rows if row.old is not None] for rows in (above, below)]
    dots = indent_of(inner[0].kept) + "..."
    once = all(count(edit.lines, piece) == 1 for piece in pieces)
    return [*above, Row(dots, dots), *below] if once else None


def elided_new(rng: Random, edit: Edit) -> list[Row] | None:
    """A comment in REPLACE for lines that SEARCH has."""
    run = inner_run(rng, edit.rows)
    if run is None:
        return None
    above, inner, below = run
    words = ["... rest of code ...", "... existing code ...", "rest of the code unchanged"]
    comment = Row(None, f"{indent_of(inner[0].kept)}# {rng.choice(words)}")
    return [*above, comment, *(Row(row.old, None) for row in inner), *below]


def misquoted(spoil: Callable[[Random, str], str], *, last: bool = False) -> Show:
    """A line that stays (or the last), spoilt in both sections: SEARCH shows what the file does not hold."""

    def show(rng: Random, edit: Edit) -> list[Row] | None:
        spoilt = [spoil(rng, row.kept) for row in edit.rows]
        rows = [i for i, row in enumerate(edit.rows) if spoilt[i].strip() and spoilt[i] != row.kept]
        rows = [i for i in rows if i == len(spoilt) - 1] if last else rows
        if not rows:
            return None
        index = rng.choice(rows)
        return [*edit.rows[:index], Row(spoilt[index], spoilt[index]), *edit.rows[index + 1 :]]

    return show


def other_case(rng: Random, text: str) -> str:
    word = rng.choice([*re.finditer(r"[A-Za-z]\w{2,}", text)] or [None])
    return text.replace(word[0], word[0].swapcase(), 1) if word else text


def line_dropped(rng: Random, edit: Edit) -> list[Row] | None:
    old = [i for i, row in enumerate(edit.rows) if row.old and row.old.strip()]
    inner = [i for i in old[1:-1] if edit.rows[i].kept]
    index = rng.choice(inner) if inner else None
    return None if index is None else edit.rows[:index] + edit.rows[index + 1 :]


def part_of_line(rng: Random, edit: Edit) -> list[Row] | None:
    """Words from inside one line, and the same words changed."""
    line = max((row.old.strip() for row in edit.rows if row.old), key=len)
    part = line[rng.randrange(1, 4) : -rng.randrange(1, 4)].strip()
    return None if len(part) < 5 or count(edit.lines, [part]) else [Row(part, f"{part}_2")]


def space_shown(_: Random, edit: Edit) -> list[Row] | None:
    """Spaces for the file's tabs; a SEARCH without any would be exact, and REPLACE taken at its word."""
    tabbed = any(row.old and row.old.startswith("\t") for row in edit.rows)
    return each(edit.rows, spaces) if tabbed else None


def on_texts(change: Callable[[str], str]) -> Callable[[Random, Case], Case]:
    """The file is so, and stays so."""
    return lambda _, case: replace(case, text=change(case.text), want=change(case.want))


HEADINGS = [
    "`{}`",
    "**{}**",
    "### {}",
    "File: `{}`",
    "**`{}`**:",
    "{}:",
    "1. `{}`",
    "# {}",
    "In `{}`:",
]
OUTSIDE = ["../shared/settings.py", "/etc/site/conf.py", "tools/other_name.py"]

# fmt: off
# In the order in which they are made: an elision first, so that it hides no other slip.
SLIPS = [
    Slip("none", group="alone"),
    Slip("several blocks", edits=3),
    Slip("breaks the syntax", False, "words", breaks=True),
    Slip("text that stands twice", False, "alone", twice=True),
    Slip("... elision", group="lines", show=elided),
    Slip("quote style changed", False, "words",
         show=misquoted(lambda _, text: text.translate({34: 39, 39: 34}))),
    Slip("comment dropped", False, "words",
         show=misquoted(lambda _, text: re.sub(r"(?<=\S)\s+#.*$", "", text))),
    Slip("identifier's case changed", False, "words", show=misquoted(other_case)),
    Slip("two spaces inside a line", False, "words",
         show=misquoted(lambda _, text: re.sub(r"(?<=\S) (?=\S)", "  ", text, count=1))),
    Slip("one wrong indent", False, "words",
         show=misquoted(lambda rng, text: rng.choice([" ", "  ", "    "]) + text)),
    Slip("last line cut", False, "words",
         show=misquoted(lambda rng, text: text[: -rng.randrange(2, 6)], last=True)),
    Slip("line dropped", False, "alone", show=line_dropped),
    Slip("part of a line", False, "alone", show=part_of_line),
    Slip("elided REPLACE", False, "words", show=elided_new),
    Slip("file's own trailing blanks", group="ends", show=lambda _, edit: each(edit.rows, str.rstrip),
         file=lambda rng, line: line + rng.choice(["", "", " ", "  ", "\t"] if line else ["", "    "])),
    Slip("tab file, space reply", file=lambda _, line: tabs(line), show=space_shown),
    Slip("dedented", group="indent", show=dedented),
    Slip("indented deeper", group="indent",
         show=lambda _, edit: each(edit.rows, lambda text: f"    {text}" if text else "")),
    Slip("trailing white space", group="ends", show=with_blanks),
    Slip("lost blank lines", group="lines", show=blank_lines(0)),
    Slip("extra blank lines", group="lines", show=blank_lines(2)),
    Slip("line numbers copied", group="lines", show=numbered),
    Slip("section fences", group="lines", section="```python\n{}```\n"),
    Slip("same block twice", case=lambda _, case: replace(case, blocks=case.blocks + case.blocks[:1])),
    Slip("file name decorations",
         case=lambda rng, case: replace(case, heading=rng.choice(HEADINGS).format(case.name))),
    Slip("path outside the files", False, "alone",
         case=lambda rng, case: replace(case, heading=rng.choice(OUTSIDE))),
    Slip("already applied", False, "alone", case=lambda _, case: replace(case, text=case.want)),
    Slip("truncated reply", False, "words",
         case=lambda rng, case: replace(case, cut=rng.randrange(6, len(case.blocks[-1]) - 20))),
    Slip("BOM", case=on_texts(lambda text: f"\ufeff{text}")),
    Slip("no last newline", case=on_texts(lambda text: text.removesuffix("\n"))),
    Slip("CRLF file", case=on_texts(lambda text: text.replace("\n", "\r\n"))),
    Slip("CRLF reply", case=lambda _, case: replace(case, ending="\r\n")),
]
# fmt: on


# ---------------------------------------------------------------- cases


def make(rng: Random, files: dict[str, str]) -> Case:
    """A case of random slips, with as many tries as it takes to find an edit that they fit."""
    slips = random_slips(rng)
    while True:
        name, other = rng.sample(sorted(files), 2)
        case = attempt(rng, slips, name, files[name])
        if case is not None:
            return replace(case, other=(other, files[other]))


def random_slips(rng: Random) -> list[Slip]:
    """One slip, and three times in ten another one that a reply ought to be forgiven."""
    first, second = rng.choice(SLIPS), rng.choice(SLIPS)
    if first.group == "alone" or rng.random() > 0.3:
        return [first]
    while (
        second == first
        or not second.applies
        or (second.group in (first.group, "alone") and second.group)
    ):
        second = rng.choice(SLIPS)
    return sorted([first, second], key=SLIPS.index)


def attempt(rng: Random, slips: list[Slip], name: str, text: str) -> Case | None:
    """A case of these slips in this file; None where chance finds no edit that they fit."""
    lines = text.split("\n")[:-1]
    for slip in slips:
        lines = [slip.file(rng, line) for line in lines] if slip.file else lines
    if not parses(lines):
        return None
    edits = random_edits(
        rng,
        lines,
        max(slip.edits for slip in slips),
        twice=any(slip.twice for slip in slips),
        breaks=any(slip.breaks for slip in slips),
    )
    if not edits:
        return None
    want = "\n".join(result(edits)) + "\n"
    blocks = [shown(rng, slips, edit) for edit in rng.sample(edits, len(edits))]
    whole = [block for block in blocks if block is not None]
    if len(whole) < len(blocks):
        return None
    case = Case(slips, name, "\n".join(lines) + "\n", want, whole, name)
    for slip in slips:
        case = slip.case(rng, case) if slip.case else case
    return case


def shown(rng: Random, slips: list[Slip], edit: Edit) -> str | None:
    """The edit as a SEARCH/REPLACE block, with the slips."""
    for slip in slips:
        rows = slip.show(rng, edit) if slip.show else edit.rows
        if rows is None:
            return None
        edit = edit._replace(rows=rows)
    old = "".join(f"{row.old}\n" for row in edit.rows if row.old is not None)
    new = "".join(f"{row.new}\n" for row in edit.rows if row.new is not None)
    for slip in slips:
        old, new = slip.section.format(old), slip.section.format(new)
    return f"<<<<<<< SEARCH\n{old}=======\n{new}>>>>>>> REPLACE\n"
