"""Putting REPLACE in place of SEARCH as a three-way merge: unchanged lines keep the file's own bytes."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from agent_runner.edits.document import Line
from agent_runner.edits.places import Place


def new_lines(
    lines: Sequence[Line], place: Place, search: Sequence[str], replace: Sequence[str]
) -> list[Line | str] | None:
    """The lines to stand at `place`: the file's own where the block leaves them, else new texts.

    None where the indentation of a new line has no counterpart in the file.
    """
    matcher = difflib.SequenceMatcher(None, list(search), list(replace), autojunk=False)
    result: list[Line | str] = []
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            result += _own_lines(lines, place, i1, i2)
            continue
        for text in replace[j1:j2]:
            mapped = _mapped(text, place)
            if mapped is None:
                return None
            result.append(mapped)
    return result


def _own_lines(lines: Sequence[Line], place: Place, first: int, last: int) -> list[Line | str]:
    """The file's lines for SEARCH lines first..last, with the blank lines that stand between them there."""
    rows = [row for row in place.rows[first:last] if row is not None]
    if not rows:
        return ["" for _ in range(first, last)]
    own: list[Line | str] = list(lines[rows[0] : rows[-1] + 1])
    tolerant = any(row is None for row in place.rows)
    if tolerant:  # blank lines at the edges of an equal stretch belong to it, too
        before = rows[0]
        while (
            before > place.start
            and not lines[before - 1].text.strip()
            and place.rows[first] is None
        ):
            before -= 1
        after = rows[-1] + 1
        while after < place.stop and not lines[after].text.strip() and place.rows[last - 1] is None:
            after += 1
        own = list(lines[before:after])
    return own


def _mapped(text: str, place: Place) -> str | None:
    body = text.lstrip()
    if not body:
        return text
    indent = place.indent(text[: len(text) - len(body)])
    return None if indent is None else indent + body
