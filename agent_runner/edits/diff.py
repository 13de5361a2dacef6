"""A unified diff straight from what the blocks kept and put in: no second comparison of whole files."""

from __future__ import annotations

from collections.abc import Iterator

from agent_runner.edits.draft import Change, Draft

_CONTEXT = 3
_NO_NEWLINE = "\\ No newline at end of file\n"


def unified_diff(path: str, draft: Draft, *, created: bool = False) -> str:
    """The draft against its original, as `git apply` and `patch` read it. Empty where nothing differs."""
    old = draft.bom + draft.original
    if draft.content == old and not created:
        return ""
    end = "\t" if " " in path else ""  # without it, patch reads such a name up to the blank only
    source = "/dev/null" if created else f"a/{path}{end}"
    text = [f"--- {source}\n+++ b/{path}{end}\n"]
    shift = 0
    for hunk in _hunks(old, _changes(draft, old)):
        line = draft.lines_above(max(_back(old, hunk[0].low) - len(draft.bom), 0))
        rendered, added = _render(old, hunk, line, shift)
        text.append(rendered)
        shift += added
    return "".join(text)


def _changes(draft: Draft, old: str) -> list[Change]:
    offset = len(draft.bom)
    changes = draft.changes()
    if not offset:
        return changes
    changes = [Change(change.low + offset, change.high + offset, change.new) for change in changes]
    if changes and changes[0].low == offset:
        changes[0] = _with_bom(draft.bom, changes[0], old)
    return changes


def _with_bom(bom: str, first: Change, old: str) -> Change:
    """The byte order mark belongs to the first line, whichever that is after the change."""
    high, new = first.high, first.new
    if high == first.low or not new:
        high = _forward(old, first.high, 1)
        new += old[first.high : high]
    return Change(0, high, bom + new)


def _hunks(old: str, changes: list[Change]) -> Iterator[list[Change]]:
    hunk: list[Change] = []
    for change in changes:
        if hunk and old.count("\n", hunk[-1].high, change.low) > 2 * _CONTEXT:
            yield hunk
            hunk = []
        hunk.append(change)
    if hunk:
        yield hunk


def _render(old: str, hunk: list[Change], line: int, shift: int) -> tuple[str, int]:
    """(the hunk, how many lines it adds). `line` counts the lines above it, `shift` those added there."""
    position, end = _back(old, hunk[0].low), _forward(old, hunk[-1].high, _CONTEXT)
    body: list[str] = []
    for change in hunk:
        body += _marked(" ", old[position : change.low])
        body += _marked("-", old[change.low : change.high])
        body += _marked("+", change.new)
        position = change.high
    body += _marked(" ", old[position:end])
    before = sum(1 for text in body if text[0] != "+")
    after = sum(1 for text in body if text[0] != "-")
    header = f"@@ -{_range(line, before)} +{_range(line + shift, after)} @@\n"
    return header + "".join(body), after - before


def _range(start: int, count: int) -> str:
    return f"{start + 1 if count else start},{count}"


def _marked(sign: str, text: str) -> list[str]:
    lines = text.split("\n")
    last = lines.pop()
    marked = [f"{sign}{line}\n" for line in lines]
    return [*marked, f"{sign}{last}\n{_NO_NEWLINE}"] if last else marked


def _back(text: str, position: int) -> int:
    """The start of the context above a position, which is the start of a line."""
    for _ in range(_CONTEXT):
        if position == 0:
            break
        position = text.rfind("\n", 0, position - 1) + 1
    return position


def _forward(text: str, position: int, lines: int) -> int:
    for _ in range(lines):
        feed = text.find("\n", position)
        if feed == -1:
            return len(text)
        position = feed + 1
    return position
