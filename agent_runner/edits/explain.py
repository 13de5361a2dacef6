"""Why a block found no place, or too many: the evidence, gathered only once a block has failed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import islice

from agent_runner.edits import messages, misses
from agent_runner.edits.already import made_before
from agent_runner.edits.display import SHOWN, cut
from agent_runner.edits.draft import Draft
from agent_runner.edits.lines import BLANKS, LineTable, find_runs
from agent_runner.edits.nearest import SURELY, Near, nearest_place
from agent_runner.edits.outcome import EditProblem, FileLine, ProblemKind
from agent_runner.edits.parse import Block
from agent_runner.edits.places import LIMIT, Hit, exact_lines, split_at_dots

_SEARCHED = 50  # other files that are looked through
_VERSIONS = 50  # states of a file that are looked through
_EXPLAINED = 20  # blocks without a place whose nearest place is looked for
_LISTED = 100  # places of an ambiguous block whose lines are given
_KEPT = 1000  # characters of a line that a problem carries as data


class Explainer:
    """Writes the problems of one reply's blocks. `original` gives a file's text before the reply."""

    def __init__(self, names: Collection[str], original: Callable[[str], str | None]) -> None:
        self._names = names
        self._original = original
        self._tables: dict[str, LineTable] = {}
        self._failed: list[tuple[Block, str]] = []
        self._explained = 0

    def failed(self, block: Block, path: str) -> None:
        """A block cannot be applied; later ones may have needed it."""
        self._failed.append((block, path))

    # ------------------------------------------------------------ no place

    def no_match(self, block: Block, path: str, draft: Draft, *, inferred: bool) -> EditProblem:
        """SEARCH stands nowhere: perhaps because the edit is there already, else with the nearest place."""
        self._explained += 1
        wanted = self._explained <= _EXPLAINED
        there = made_before(draft, block.readings(), look_near=wanted)
        if there is not None:
            line = draft.original_line(there)
            return _problem(block, path, "noop", messages.made_before(line), line=line)
        if not wanted:
            message = f"{misses.NO_MATCH} {misses.NOT_LOOKED_FOR}"
            return _problem(block, path, "no_match", message)
        table = self._table(path, draft)
        earlier = self._taken_by(block.search, draft)
        if earlier is not None:
            return self._taken(block, path, draft, earlier)
        others = self._holding(block, path)
        near = nearest_place(block.search, table)
        if others and near is not None and near.likeness < SURELY:
            near = None  # the other file is what was meant
        advice = None if near is None else self._advice(near, table, draft)
        causes = self._causes(block, path, table)
        causes += [misses.in_other_files(others)] if others else []
        if inferred:
            causes.append(misses.INFERRED)
        text = misses.no_match(block.search, table.lines, near, advice, causes)
        line = (
            None
            if near is None
            else near.differences[0].at + 1
            if near.differences
            else near.start + 1
        )
        shown = [] if near is None else misses.window(table.lines, near)
        return _problem(block, path, "no_match", text, line=line, shown=shown)

    def _table(self, path: str, draft: Draft) -> LineTable:
        """The file as it is on disk: its line numbers are the ones an agent can look up."""
        if path not in self._tables:
            same = draft.text == draft.original
            self._tables[path] = draft.table if same else LineTable(draft.original)
        return self._tables[path]

    def _advice(self, near: Near, table: LineTable, draft: Draft) -> str:
        """What to do with the lines that are shown: copy them, if that is sure to work."""
        lines = table.lines[near.start : near.start + near.count]
        places = exact_lines(draft, lines)
        if not places:
            earlier = self._taken_by(lines, draft)
            return misses.ALSO_CHANGED if earlier is None else misses.near_changed_by(earlier)
        if len(places) > 1:
            numbers = [draft.original_line(place) for place in places]
            return misses.copy_with_neighbour([n for n in numbers if n is not None])
        if near.count > SHOWN:
            return misses.correct(near)
        if any(cut(line) != line for line in lines):
            return misses.NOT_AS_SHOWN
        return misses.COPY

    def _taken(self, block: Block, path: str, draft: Draft, earlier: int) -> EditProblem:
        """The text was there until an earlier block of the reply changed it."""
        found = exact_lines(Draft(draft.original), block.search)
        line = draft.original.count("\n", 0, found[0]) + 1 if found else None
        message = f"{misses.NO_MATCH} {misses.changed_by(earlier, line)}"
        return _problem(block, path, "no_match", message, line=line)

    def _causes(self, block: Block, path: str, table: LineTable) -> list[str]:
        causes = []
        for other, other_path in self._failed:
            if other_path == path and _within(block.search, other.replace):
                causes.append(misses.needs(other.number))
                break
        longer = _part_of_line(block.search, table)
        if longer:
            causes.append(misses.part_of_line(longer))
        elif find_runs(table.stripped, [line.strip(BLANKS) for line in block.search]):
            causes.append(misses.INDENTATION)
        if len(split_at_dots(block.search)) > 1:
            causes.append(misses.DOTS)
        return causes

    def _taken_by(self, lines: Sequence[str], draft: Draft) -> int | None:
        """The earlier block after which these lines no longer stood there."""
        for number, text in islice(draft.earlier(), _VERSIONS):
            if exact_lines(Draft(text), lines):
                return number
        return None

    def _holding(self, block: Block, path: str) -> list[tuple[str, int]]:
        """(file, line) of the other files that hold SEARCH."""
        others = [name for name in sorted(self._names)[: _SEARCHED + 1] if name != path]
        found = []
        for name in others[:_SEARCHED]:
            text = self._original(name)
            places = exact_lines(Draft(text), block.search) if text else []
            if text and places:
                found.append((name, text.count("\n", 0, places[0]) + 1))
        return found

    # ------------------------------------------------------------ too many places

    def ambiguous(self, block: Block, path: str, draft: Draft, hits: Sequence[Hit]) -> EditProblem:
        """SEARCH stands in several places: where, and what stands around them."""
        part = next(
            (n for n, parts in enumerate(zip(*(hit.parts for hit in hits), strict=False))
             if len({part.start for part in parts}) > 1), 0)  # fmt: skip
        offsets = [hit.parts[part].start for hit in hits[:_LISTED]]
        lines = [line for line in map(draft.original_line, offsets) if line is not None]
        count = len(hits[0].parts[part].search)
        table = self._table(path, draft)
        contexts = [_around(table, line, count) for line in lines[:3]]
        shown = [line for context in contexts for line in context]
        places = f"at least {LIMIT}" if len(hits) >= LIMIT else str(len(hits))
        if hits[0].tier == "ellipsis":
            text = misses.ambiguous_piece(part + 1, lines, contexts)
        else:
            text = misses.ambiguous(places, hits[0].tier, lines, contexts)
        first = lines[0] if lines else None
        return _problem(block, path, "ambiguous", text, line=first, lines=lines, shown=shown)


def _problem(
    block: Block,
    path: str,
    kind: ProblemKind,
    message: str,
    *,
    line: int | None = None,
    lines: Sequence[int] | None = None,
    shown: Sequence[FileLine] = (),
) -> EditProblem:
    if lines is None:
        lines = [row.number for row in shown] or ([] if line is None else [line])
    return EditProblem(
        kind=kind,
        message=message,
        block=block.number,
        path=path,
        line=line,
        lines=list(lines),
        nearest=[FileLine(number=row.number, text=row.text[:_KEPT]) for row in shown],
        reply_line=block.line,
    )


def _within(lines: Sequence[str], others: Sequence[str]) -> bool:
    return bool(find_runs([line.strip() for line in others], [line.strip() for line in lines]))


def _part_of_line(search: Sequence[str], table: LineTable) -> list[int]:
    """Lines that hold a SEARCH of one line as a piece, from 1."""
    filled = [line.strip() for line in search if line.strip()]
    if len(filled) != 1:
        return []
    rows = (
        n for n, line in enumerate(table.stripped, 1) if filled[0] in line and filled[0] != line
    )
    return list(islice(rows, 9))


def _around(table: LineTable, line: int, count: int) -> list[FileLine]:
    """A place with the line before and after it, its middle left out where it is long."""
    rows = range(max(line - 2, 0), min(line + count, len(table.lines)))
    shown = [*rows[:3], *rows[-1:]] if len(rows) > 5 else [*rows]
    return [FileLine(number=row + 1, text=table.lines[row]) for row in shown]
