"""Whether an edit stands in the file already: it would put the same text in twice, or was sent before."""

from __future__ import annotations

from collections.abc import Sequence

from agent_runner.edits.draft import Draft
from agent_runner.edits.lines import find_runs
from agent_runner.edits.nearest import SURELY, Near, nearest_place
from agent_runner.edits.parse import Lines
from agent_runner.edits.places import Part, find_places
from agent_runner.edits.replace import Piece
from agent_runner.edits.runs import most_places

_WHITE_SPACE = ("exact", "trailing whitespace", "indentation")
# fmt: off
_PLAIN = frozenset({  # lines that stand everywhere
    "pass", "return", "break", "continue", "else:", "try:", "finally:", "...",
    ")", "]", "}", "),", "],", "},", ");",
})
# fmt: on


def made_before(
    draft: Draft, readings: Sequence[tuple[Lines, Lines]], *, look_near: bool
) -> int | None:
    """Where an edit whose SEARCH stands nowhere was made before: REPLACE stands there, and only there.

    That REPLACE stands there shows it only if REPLACE has a line of its own that says something, or if what it
    leaves out is gone: it lay between lines that are neighbours now, or nothing there is like it. With
    `look_near`, SEARCH must not be much like the text of another place: it was meant for that, then.
    """
    for search, new in readings:
        if not any(line.strip() for line in new):
            continue
        hits = find_places(draft, [(new, search)])
        if len(hits) != 1 or hits[0].tier not in _WHITE_SPACE:
            continue
        near = nearest_place(search, draft.table) if look_near else None
        first = draft.text.count("\n", 0, hits[0].start)
        elsewhere = near is not None and (
            near.start >= first + len(new) or first >= near.start + near.count
        )
        if near is not None and elsewhere and near.likeness >= SURELY:
            continue
        if _shows(search, new, near):
            return hits[0].start
    return None


def _shows(search: Lines, new: Lines, near: Near | None) -> bool:
    """Whether the lines of REPLACE in the file tell that the edit was made there."""
    ours, theirs = ([line.strip() for line in lines if line.strip()] for lines in (search, new))
    telling = [line for line in theirs if line not in _PLAIN]
    if not {*telling} - {*ours}:
        gone = near is not None and all(d.file_line is None for d in near.differences)
        return _left_out_inside(ours, theirs) or (gone and len(theirs) < len(ours))
    return len(telling) > 1 or len(ours) == 1


def _left_out_inside(search: list[str], new: list[str]) -> bool:
    """Whether REPLACE is SEARCH without a run of its inner lines."""
    if len(new) >= len(search):
        return False
    head = 0
    while head < len(new) and new[head] == search[head]:
        head += 1
    tail = len(new) - head
    return 0 < head < len(new) and new[head:] == search[len(search) - tail :]


def already_there(
    draft: Draft, part: Part, pieces: Sequence[Piece], *, but_for_blanks: bool
) -> int | None:
    """Where the text that `pieces` make stands already around this place: the edit would put it in twice."""
    here = draft.text[part.start : part.end]
    new = "".join(
        piece if isinstance(piece, str) else draft.text[slice(*piece)] for piece in pieces
    )
    if len(new) <= len(here):
        return None
    if but_for_blanks:
        return _there_but_for_blanks(draft, part.start, here, new)
    offset = new.find(here)
    while offset != -1:
        start = part.start - offset
        if start >= 0 and _stands_at(draft.text, new, start):
            return start
        offset = new.find(here, offset + 1)
    return None


def _stands_at(text: str, new: str, start: int) -> bool:
    """Whether `new` stands there, its last line feed aside where the text has none at its end."""
    missing = start + len(new) - len(text)
    if missing <= 0:
        return text.startswith(new, start)
    return missing <= 2 and text[start:] == new.removesuffix("\n").removesuffix("\r")


def _there_but_for_blanks(draft: Draft, start: int, here: str, new: str) -> int | None:
    """The same, for a place that was found with blank lines left out of account."""
    table = draft.table
    ours, theirs = (
        [line.rstrip() for line in text.split("\n") if line.strip()] for text in (new, here)
    )
    first = table.filled.index(draft.text.count("\n", 0, start))
    if len(ours) <= len(theirs) or not theirs:
        return None
    for offset in find_runs(ours, theirs, most_places(len(theirs))):
        if offset > first:
            break
        rows = table.filled[first - offset : first - offset + len(ours)]
        if len(rows) == len(ours) and all(
            table.trimmed[row] == line for row, line in zip(rows, ours, strict=True)
        ):
            return table.starts[rows[0]]
    return None
