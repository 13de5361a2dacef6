"""Why a block found no place, or too many: the evidence, gathered only once a block has failed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from difflib import SequenceMatcher
from itertools import islice

from agent_runner.edits import messages
from agent_runner.edits.draft import Draft
from agent_runner.edits.lines import BLANKS, LineTable, find_runs
from agent_runner.edits.nearest import Near, nearest_place
from agent_runner.edits.outcome import EditProblem, FileLine
from agent_runner.edits.parse import Block
from agent_runner.edits.places import LIMIT, Hit, exact_lines, find_places, split_at_dots

_SEARCHED = 50  # other files that are looked through
_VERSIONS = 50  # states of a file that are looked through
_EXPLAINED = 20  # blocks without a place whose nearest place is looked for
_WHITE_SPACE = ("exact", "trailing whitespace", "indentation")
# fmt: off
_PLAIN = frozenset({  # lines that stand everywhere
    "pass", "return", "break", "continue", "else:", "try:", "finally:", "...",
    ")", "]", "}", "),", "],", "},", ");",
})
# fmt: on


class Explainer:
    """Writes the problems of one reply's blocks. `original` gives a file's text before the reply."""

    def __init__(self, names: Collection[str], original: Callable[[str], str | None]) -> None:
        self._names = names
        self._original = original
        self._tables: dict[str, LineTable] = {}
        self._failed: list[tuple[Block, str]] = []
        self._count = 0

    def failed(self, block: Block, path: str) -> None:
        """A block cannot be applied; later ones may have needed it."""
        self._failed.append((block, path))

    # ------------------------------------------------------------ no place

    def no_match(self, block: Block, path: str, draft: Draft, *, inferred: bool) -> EditProblem:
        """SEARCH stands nowhere: perhaps because the edit is there already, else with the nearest place."""
        self._count += 1
        if self._count > _EXPLAINED:
            message = messages.no_match(block.search, (), None, (messages.NOT_LOOKED_FOR,))
            return EditProblem(
                kind="no_match",
                message=message,
                block=block.number,
                path=path,
                reply_line=block.line,
            )
        there = self._already(block, draft)
        if there is not None:
            return EditProblem(
                kind="noop",
                message=messages.already(there),
                block=block.number,
                path=path,
                line=there,
                lines=[there],
                reply_line=block.line,
            )
        table = self._table(path, draft)
        near = nearest_place(block.search, table)
        shown = messages.nearest_lines(table.lines, near)
        causes = self._causes(block, path, draft, table)
        if inferred:
            causes.append(messages.ONLY_EXACT)
        return EditProblem(
            kind="no_match",
            message=messages.no_match(block.search, table.lines, near, causes),
            block=block.number,
            path=path,
            line=None if near is None else _first_line(near),
            lines=[line.number for line in shown],
            nearest=shown,
            reply_line=block.line,
        )

    def _table(self, path: str, draft: Draft) -> LineTable:
        """The file as it is on disk: its line numbers are the ones an agent can look up."""
        if path not in self._tables:
            same = draft.text == draft.original
            self._tables[path] = draft.table if same else LineTable(draft.original)
        return self._tables[path]

    def _already(self, block: Block, draft: Draft) -> int | None:
        """The line at which REPLACE stands, where that shows the edit was made before.

        That is: it stands once, at the very place SEARCH is nearest to, and every line that SEARCH would
        lose has a new one in its place that is much like it.
        """
        if not _recognisable(block.search, block.replace):
            return None
        for search, new in block.readings():
            hits = find_places(draft, [(new, search)])
            if len(hits) != 1 or hits[0].tier not in _WHITE_SPACE:
                continue
            near = nearest_place(search, draft.table)
            first = draft.text.count("\n", 0, hits[0].start)
            if (
                near is not None
                and near.start < first + len(new)
                and first < near.start + near.count
            ):
                return draft.original_line(hits[0].start)
        return None

    def _causes(self, block: Block, path: str, draft: Draft, table: LineTable) -> list[str]:
        causes = []
        earlier = self._taken_by(block, draft)
        if earlier is not None:
            causes.append(messages.changed_by(earlier))
        for other, other_path in self._failed:
            if other_path == path and _within(block.search, other.replace):
                causes.append(messages.needs(other.number))
                break
        longer = _part_of_line(block.search, table)
        if longer:
            causes.append(messages.part_of_line(longer))
        elif find_runs(table.stripped, [line.strip(BLANKS) for line in block.search]):
            causes.append(messages.INDENTATION)
        if len(split_at_dots(block.search)) > 1:
            causes.append(messages.DOTS)
        if not causes:
            others = self._holding(block, path)
            causes += [messages.in_other_files(others)] if others else []
        return causes

    def _taken_by(self, block: Block, draft: Draft) -> int | None:
        """The earlier block after which SEARCH no longer matched."""
        for number, text in islice(draft.earlier(), _VERSIONS):
            if exact_lines(Draft(text), block.search):
                return number
        return None

    def _holding(self, block: Block, path: str) -> list[str]:
        others = [name for name in sorted(self._names)[: _SEARCHED + 1] if name != path]
        found = []
        for name in others[:_SEARCHED]:
            text = self._original(name)
            if text and exact_lines(Draft(text), block.search):
                found.append(name)
        return found

    # ------------------------------------------------------------ too many places

    def ambiguous(self, block: Block, path: str, draft: Draft, hits: Sequence[Hit]) -> EditProblem:
        """SEARCH stands in several places: where, and what stands around them."""
        lines = [
            line for line in (draft.original_line(hit.start) for hit in hits) if line is not None
        ]
        table = self._table(path, draft)
        contexts = [_around(table, line, len(block.search)) for line in lines[:3]]
        count = f"at least {LIMIT}" if len(hits) >= LIMIT else str(len(hits))
        if hits[0].tier == "ellipsis":
            count = "several"
        return EditProblem(
            kind="ambiguous",
            message=messages.ambiguous(count, hits[0].tier, lines, contexts),
            block=block.number,
            path=path,
            line=lines[0] if lines else None,
            lines=lines,
            nearest=[line for context in contexts for line in context],
            reply_line=block.line,
        )


def _recognisable(search: Sequence[str], new: Sequence[str]) -> bool:
    """Whether REPLACE adds something, and loses no line of SEARCH without one like it in its place."""
    if not any(line.strip() and line.strip() not in _PLAIN for line in new):
        return False
    added = False
    if len(search) * len(new) > 250_000:
        return False
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, search, new, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        if i2 - i1 > j2 - j1:
            return False
        pairs = zip(search[i1:i2], new[j1:j2], strict=False)
        if any(not _alike(old.strip(), fresh.strip()) for old, fresh in pairs):
            return False
        added = True
    return added


def _alike(old: str, new: str) -> bool:
    return SequenceMatcher(None, old[:200], new[:200], autojunk=False).ratio() >= 0.6


def _first_line(near: Near) -> int:
    return (near.start if near.file_line is None else near.file_line) + 1


def _within(lines: Sequence[str], others: Sequence[str]) -> bool:
    return bool(find_runs([line.strip() for line in others], [line.strip() for line in lines]))


def _part_of_line(search: Sequence[str], table: LineTable) -> list[int]:
    """Lines that hold a SEARCH of one line as a piece, from 1."""
    filled = [line.strip() for line in search if line.strip()]
    if len(filled) != 1:
        return []
    found = []
    for row, line in enumerate(table.stripped):
        if filled[0] in line and filled[0] != line:
            found.append(row + 1)
            if len(found) > 8:
                break
    return found


def _around(table: LineTable, line: int, count: int) -> list[FileLine]:
    """A place with the line before and after it, its middle left out where it is long."""
    rows = range(max(line - 2, 0), min(line + count, len(table.lines)))
    shown = [*rows[:3], *rows[-1:]] if len(rows) > 5 else [*rows]
    return [FileLine(number=row + 1, text=messages.cut(table.lines[row])) for row in shown]
