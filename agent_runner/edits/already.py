"""Whether an edit stands in the file already, so that making it would put the same text in twice."""

from __future__ import annotations

from collections.abc import Sequence

from agent_runner.edits.draft import Draft
from agent_runner.edits.places import Part
from agent_runner.edits.replace import Piece


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
    if text.startswith(new, start):
        return True
    return text[start:] == new.removesuffix("\n").removesuffix("\r")


def _there_but_for_blanks(draft: Draft, start: int, here: str, new: str) -> int | None:
    """The same, for a place that was found with blank lines left out of account."""
    table = draft.table
    ours, theirs = (
        [line.rstrip() for line in text.split("\n") if line.strip()] for text in (new, here)
    )
    first = table.filled.index(draft.text.count("\n", 0, start))
    if len(ours) <= len(theirs):
        return None
    for offset in range(min(len(ours) - len(theirs), first) + 1):
        if ours[offset : offset + len(theirs)] != theirs:
            continue
        rows = table.filled[first - offset : first - offset + len(ours)]
        if [table.trimmed[row] for row in rows] == ours:
            return table.starts[rows[0]]
    return None
