"""Reading blocks out of a reply. A block is never closed, divided or opened by guess."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_HEAD = re.compile(r"^([ \t]*)(<{5,9})[ \t]*SEARCH>?[ \t]*$", re.IGNORECASE)
_TAIL = re.compile(r"^([ \t]*)(>{5,9})[ \t]*REPLACE>?[ \t]*$", re.IGNORECASE)
_DIVIDER = re.compile(r"^([ \t]*)(={5,9})[ \t]*$")
_FENCE = re.compile(r"^[ \t]*(?:>[ \t]?)?(`{3,}|~{3,})[ \t]*([^`]*)$")
# Almost a marker: another tool's words, the wrong count, something behind it.
_LIKE_HEAD = re.compile(r"^[ \t]*<{3,}[ \t]*(SEARCH|ORIGINAL|HEAD|UPDATED)\b", re.IGNORECASE)
_LIKE_TAIL = re.compile(r"^[ \t]*>{3,}[ \t]*(REPLACE|UPDATED|SEARCH)\b", re.IGNORECASE)

FORM = """\
experiment.py
```python
<<<<<<< SEARCH
whole lines of the file, as they are now
=======
the lines to put in their place
>>>>>>> REPLACE
```"""


@dataclass(frozen=True)
class Block:
    """One SEARCH/REPLACE block. `hints` are texts that may name its file, the nearest first."""

    number: int
    search: tuple[str, ...]
    replace: tuple[str, ...]
    hints: tuple[str, ...] = ()

    @property
    def is_empty_search(self) -> bool:
        return not any(line.strip() for line in self.search)


@dataclass(frozen=True)
class Malformed:
    """A block that cannot be read. `line` counts in the reply, from 1."""

    number: int
    line: int
    message: str


@dataclass
class Reply:
    """The blocks of a reply in order, and what could not be read."""

    blocks: list[Block] = field(default_factory=list)
    malformed: list[Malformed] = field(default_factory=list)


def parse_reply(text: str) -> Reply:
    """Find every block. Lines end at `\\n` only; a `\\r` before it is not part of the line."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    reply = Reply()
    number, position, floor = 0, 0, 0
    while position < len(lines):
        head = _HEAD.match(lines[position])
        if head is None:
            if _LIKE_HEAD.match(lines[position]) or _LIKE_TAIL.match(lines[position]):
                number += 1
                reply.malformed.append(_stray(number, position, lines[position]))
            position += 1
            continue
        number += 1
        end = _end_of(lines, position, head)
        if end is None:
            reply.malformed.append(
                Malformed(
                    number,
                    position + 1,
                    f"the SEARCH opened in line {position + 1} of the reply is not closed by a "
                    f"`{'>' * len(head[2])} REPLACE` line: the reply may have been cut off.",
                )
            )
            position += 1
            continue
        _read_block(reply, number, lines, (floor, position, end), head)
        position = floor = end + 1
    return reply


def _end_of(lines: list[str], start: int, head: re.Match[str]) -> int | None:
    """The TAIL of the same length and indent before the next such HEAD; else the first before any HEAD."""
    own = (head[1], len(head[2]))
    for index in range(start + 1, len(lines)):
        opened, closed = _HEAD.match(lines[index]), _TAIL.match(lines[index])
        if closed and (closed[1], len(closed[2])) == own:
            return index
        if opened and (opened[1], len(opened[2])) == own:
            break
    for index in range(start + 1, len(lines)):
        if _HEAD.match(lines[index]):
            return None
        if _TAIL.match(lines[index]):
            return index
    return None


def _read_block(
    reply: Reply, number: int, lines: list[str], place: tuple[int, int, int], head: re.Match[str]
) -> None:
    floor, start, end = place
    dividers = [(i, _DIVIDER.match(lines[i])) for i in range(start + 1, end)]
    runs = [(i, match) for i, match in dividers if match]
    own = [i for i, match in runs if (match[1], len(match[2])) == (head[1], len(head[2]))]
    candidates = own or [i for i, _match in runs]
    if len(candidates) != 1:
        reply.malformed.append(_undivided(number, start, candidates))
        return
    body = [lines[start + 1 : candidates[0]], lines[candidates[0] + 1 : end]]
    search, replace = _without_block_indent(body, head[1])
    hints = tuple(_hints_above(lines, floor, start))
    reply.blocks.append(Block(number, tuple(search), tuple(replace), hints))


def _undivided(number: int, start: int, dividers: list[int]) -> Malformed:
    if not dividers:
        what = "has no `=======` line between what to find and what to put there."
    else:
        at = ", ".join(str(i + 1) for i in dividers[:6])
        what = (
            f"has several lines that could divide it (lines {at} of the reply). Where the text itself "
            "holds such lines, use nine-character markers: `<<<<<<<<< SEARCH`, `=========`, "
            "`>>>>>>>>> REPLACE`."
        )
    return Malformed(number, start + 1, f"the block opened in line {start + 1} of the reply {what}")


def _stray(number: int, index: int, line: str) -> Malformed:
    return Malformed(
        number,
        index + 1,
        f"line {index + 1} of the reply, `{line.strip()[:60]}`, looks like a marker but is none: markers "
        f"are `<<<<<<< SEARCH`, `=======` and `>>>>>>> REPLACE`, in that order, alone on their lines.",
    )


def _without_block_indent(parts: list[list[str]], indent: str) -> list[list[str]]:
    """A block inside a list item is indented as a whole, markers included: its text is not."""
    if not indent or any(line.strip() and not line.startswith(indent) for p in parts for line in p):
        return parts
    return [[line.removeprefix(indent) for line in part] for part in parts]


def _hints_above(lines: list[str], floor: int, start: int) -> list[str]:
    """Texts that may name the file: the fence's info string, then the paragraph above, nearest line first."""
    hints: list[str] = []
    fences = 0
    for index in range(start - 1, floor - 1, -1):
        line = lines[index]
        fence = _FENCE.match(line)
        if fence:
            fences += 1
            if fences > 2:
                break
            if fence[2].strip():
                hints.append("```" + fence[2].strip())
        elif line.strip():
            hints.append(line)
            if len(hints) > 5:
                break
        elif any(not hint.startswith("```") for hint in hints):
            break  # the paragraph above the fence is over
    return hints
