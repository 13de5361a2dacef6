"""`apply_reply`: blocks onto texts, all or none. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from agent_runner.edits import guards, messages, places, rewrite, targets
from agent_runner.edits.document import Document
from agent_runner.edits.outcome import AppliedBlock, EditOutcome, EditProblem, ProblemKind
from agent_runner.edits.parse import Block, parse_reply


def apply_reply(
    reply: str, files: Mapping[str, str], editable: Collection[str] | None = None
) -> EditOutcome:
    """Apply every SEARCH/REPLACE block of a reply to texts, or none.

    Args:
        reply: the agent's whole reply; prose and other fences in it mean nothing.
        files: path (relative, `/`) to text, of every file that blocks may refer to.
        editable: the paths that may change, which may name files to be created; None = all of `files`.

    Never raises for anything a reply contains.
    """
    parsed = parse_reply(reply)
    work = _Work(files, editable, parsed.blocks)
    for broken in parsed.malformed:
        work.refuse(broken.number, "malformed", broken.message)
    for block in parsed.blocks:
        work.take(block)
    work.check_syntax()
    return work.outcome(len(parsed.blocks) + len(parsed.malformed))


@dataclass
class _Work:
    """The state of one reply: documents as they become, and what was said on the way."""

    files: Mapping[str, str]
    editable: Collection[str] | None
    blocks: list[Block]
    documents: dict[str, Document] = field(default_factory=dict)
    problems: list[EditProblem] = field(default_factory=list)
    applied: list[AppliedBlock] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    noops: list[EditProblem] = field(default_factory=list)
    previous: str | None = None
    done: dict[tuple[str, tuple[str, ...], tuple[str, ...]], int] = field(default_factory=dict)

    # ------------------------------------------------------------ one block

    def take(self, block: Block) -> None:
        path = self._target(block)
        if path is None:
            return
        self.previous = path
        key = (path, block.search, block.replace)
        if key in self.done:
            self.notes.append(
                f"block {block.number} repeats block {self.done[key]} and was left out."
            )
            return
        self.done[key] = block.number
        if path not in self.files:
            self._create(block, path)
            return
        document = self._document(path)
        if block.is_empty_search:
            self._fill_empty(block, path, document)
            return
        if block.search == block.replace:
            self._noop(block, path, None, "SEARCH and REPLACE are the same: leave this block out.")
            return
        lazy = guards.lazy_line(block.search, block.replace, document.texts())
        if lazy is not None:
            self.refuse(
                block.number,
                "malformed",
                f"REPLACE holds a placeholder, `{lazy.strip()[:80]}`, where code belongs. Write out every "
                "line, or make the block smaller.",
                path,
            )
            return
        self._place(block, path, document)

    def _place(self, block: Block, path: str, document: Document) -> None:
        lines = document.texts()
        tier, found = places.find(lines, block.search)
        search, replace = list(block.search), list(block.replace)
        if not found:
            there = self._already_there(lines, replace)
            if there is not None:
                self._noop(
                    block, path, there + 1, f"already applied, at line {there + 1}: leave it out."
                )
                return
            for name, plain_search, plain_replace in places.undecorated(search, replace):
                tier, found = places.find(lines, plain_search)
                if found:
                    tier = f"{name}, {tier}" if tier != "exact" else name
                    search, replace = plain_search, plain_replace
                    break
        if not found:
            if not self._place_pieces(block, path, document):
                self._no_match(block, path, document)
            return
        repeats = sum(
            1 for b in self.blocks if (b.search, b.replace) == (block.search, block.replace)
        )
        chosen = self._unique(document, found, repeats)
        if chosen is None:
            starts = [place.start for place in found]
            text = messages.ambiguous(lines, starts, len(search))
            lines_at = tuple(start + 1 for start in starts[:8])
            self.refuse(block.number, "ambiguous", text, path, lines=lines_at)
            return
        there = self._inserted_before(lines, chosen[0], search, replace)
        if there is not None:
            self._noop(
                block, path, there + 1, f"already applied, at line {there + 1}: leave it out."
            )
            return
        self._write(block, path, document, (tier, search, replace), chosen)

    def _write(
        self,
        block: Block,
        path: str,
        document: Document,
        how: tuple[str, list[str], list[str]],
        chosen: list[places.Place],
    ) -> None:
        tier, search, replace = how
        for place in reversed(chosen):
            new = rewrite.new_lines(document.lines, place, search, replace)
            if new is None:
                self.refuse(
                    block.number,
                    "no_match",
                    f"SEARCH matches at line {place.start + 1} only with another indentation, and a REPLACE "
                    "line is indented less than that allows. Copy the lines as they are in the file.",
                    path,
                    line=place.start + 1,
                )
                return
            document.replace(place.start, place.stop, new, block.number)
        for place in chosen:
            self.applied.append(
                AppliedBlock(block=block.number, path=path, tier=tier, line=place.start + 1)
            )

    def _place_pieces(self, block: Block, path: str, document: Document) -> bool:
        """`...` pieces, in order; each must be unique after the one before it."""
        pieces = places.elided(block.search, block.replace)
        if pieces is None:
            return False
        lines, floor = document.texts(), 0
        plan: list[tuple[places.Place, list[str], list[str]]] = []
        for search, replace in pieces:
            if not any(line.strip() for line in search):
                if any(line.strip() for line in replace):
                    return False  # new lines with no place of their own
                continue
            _tier, found = places.find(lines, search)
            if len(found) != 1 or found[0].start < floor:
                return False
            plan.append((found[0], search, replace))
            floor = found[0].stop
        for place, search, replace in reversed(plan):
            new = rewrite.new_lines(document.lines, place, search, replace)
            if new is None:
                return False
            document.replace(place.start, place.stop, new, block.number)
        self.applied.append(
            AppliedBlock(
                block=block.number, path=path, tier="... pieces", line=plan[0][0].start + 1
            )
        )
        return True

    # ------------------------------------------------------------ files

    def _target(self, block: Block) -> str | None:
        known = set(self.files) | set(self.editable or ())
        named = targets.named_target(block.hints, known, self.editable)
        if named is not None and named.refused is not None:
            self._forbid(block, str(named.path), named.refused)
            return None
        path = named.path if named else None
        path = path or self.previous or targets.sole(self.files, self.editable)
        if path is None:
            holders = [
                name
                for name, text in self.files.items()
                if self._may_edit(name) and places.exact(Document(text).texts(), block.search)
            ]
            path = holders[0] if len(holders) == 1 else None
        if path is None:
            text = "it does not say which file it is for. Put the file's name on the line above the fence."
            self.refuse(block.number, "malformed", text)
            return None
        if not self._may_edit(path):
            self._forbid(block, path, "it is not one of the editable files")
            return None
        return path

    def _may_edit(self, path: str) -> bool:
        return path in self.editable if self.editable is not None else path in self.files

    def _forbid(self, block: Block, path: str, why: str) -> None:
        allowed = sorted(self.editable if self.editable is not None else self.files)
        listing = ", ".join(allowed[:20]) + (", ..." if len(allowed) > 20 else "")
        text = f"{path[:200]} cannot be edited: {why}. Editable: {listing or 'none'}."
        self.refuse(block.number, "path_forbidden", text, path[:200])

    def _document(self, path: str) -> Document:
        if path not in self.documents:
            self.documents[path] = Document(self.files.get(path, ""))
        return self.documents[path]

    def _create(self, block: Block, path: str) -> None:
        document = self._document(path)
        if not block.is_empty_search and not document.lines:
            text = f"there is no {path} yet. To create it, leave SEARCH empty."
            self.refuse(block.number, "no_match", text, path)
            return
        if block.is_empty_search:
            self._fill_empty(block, path, document)
        else:
            self._place(block, path, document)

    def _fill_empty(self, block: Block, path: str, document: Document) -> None:
        if any(line.text.strip() for line in document.lines):
            text = (
                "SEARCH is empty, but the file is not. Copy the lines that stand where the new ones belong "
                "into SEARCH."
            )
            self.refuse(block.number, "malformed", text, path)
            return
        document.replace(0, len(document.lines), list(block.replace), block.number)
        self.applied.append(AppliedBlock(block=block.number, path=path, tier="exact", line=1))

    # ------------------------------------------------------------ judging places

    def _unique(
        self, document: Document, found: list[places.Place], repeats: int
    ) -> list[places.Place] | None:
        """The one place; or all of them, where as many identical blocks were sent."""
        if len(found) == 1:
            return found
        own = [
            p for p in found if all(line.block == 0 for line in document.lines[p.start : p.stop])
        ]
        if len(own) == 1:
            return own
        apart = all(a.stop <= b.start for a, b in zip(found, found[1:], strict=False))
        return found if len(found) == repeats and apart else None

    def _already_there(self, lines: list[str], replace: list[str]) -> int | None:
        if sum(1 for line in replace if line.strip()) < 1:
            return None
        found = places.trailing_space(lines, replace)
        return found[0].start if len(found) == 1 else None

    def _inserted_before(
        self, lines: list[str], place: places.Place, search: list[str], replace: list[str]
    ) -> int | None:
        """An insertion sent twice: REPLACE holds SEARCH, and stands whole around this very place."""
        if len(replace) <= len(search):
            return None
        inside = [hit.start for hit in places.exact(replace, search)]
        for hit in places.exact(lines, replace):
            if any(hit.start + offset == place.start for offset in inside):
                return hit.start
        return None

    # ------------------------------------------------------------ words

    def refuse(
        self,
        block: int | None,
        kind: ProblemKind,
        message: str,
        path: str | None = None,
        *,
        line: int | None = None,
        lines: tuple[int, ...] = (),
        nearest: tuple[str, ...] = (),
    ) -> None:
        self.problems.append(
            EditProblem(
                kind=kind, message=message, block=block, path=path,
                line=line if line is not None else (lines[0] if lines else None),
                lines=lines, nearest=nearest,
            )
        )  # fmt: skip

    def _noop(self, block: Block, path: str, line: int | None, message: str) -> None:
        self.noops.append(
            EditProblem(kind="noop", message=message, block=block.number, path=path, line=line)
        )

    def _no_match(self, block: Block, path: str, document: Document) -> None:
        original = Document(self.files.get(path, "")).texts()
        earlier: list[str] = []
        if places.find(original, block.search)[1]:
            changed_by = sorted({line.block for line in document.lines if line.block})
            earlier = [
                f"these lines were changed by block {n} of this reply." for n in changed_by[:1]
            ]
        others = {
            name: Document(text).texts()
            for name, text in self.files.items()
            if name != path and len(text) < 1_000_000
        }
        text, line, nearest = messages.no_match(
            path, document.texts(), block.search, others, earlier
        )
        self.refuse(block.number, "no_match", text, path, line=line, nearest=nearest)

    # ------------------------------------------------------------ the end

    def check_syntax(self) -> None:
        for path, document in self.documents.items():
            error = guards.broken_python(path, document.original, document.text)
            if error is not None:
                writers = [b.block for b in self.applied if b.path == path]
                code = f": `{messages.cut(error.text.strip())}`" if error.text else ""
                self.refuse(
                    writers[-1] if len(writers) == 1 else None,
                    "malformed",
                    f"with these edits {path} is no longer Python: {error.msg} "
                    f"(line {error.lineno} of the new file){code}",
                    path,
                    line=error.lineno,
                )

    def outcome(self, blocks: int) -> EditOutcome:
        if not blocks:
            problem = EditProblem(kind="no_edits", message=messages.NO_EDITS)
            return _refused([problem], 0)
        if self.problems:
            ordered = sorted(self.problems, key=lambda p: (p.block is None, p.block or 0))
            return _refused(ordered, blocks)
        texts = {path: document.text for path, document in self.documents.items()}
        changed = {p: t for p, t in texts.items() if p not in self.files or t != self.files[p]}
        if not changed:
            same = "with these edits every file is what it was before."
            return _refused(self.noops or [EditProblem(kind="noop", message=same)], blocks)
        notes = [*self.notes, *(f"block {p.block}: {p.message}" for p in self.noops)]
        return EditOutcome(
            applied=True,
            message=messages.success(self.applied, notes),
            files=changed,
            diff="".join(_diff(path, self.files.get(path), text) for path, text in changed.items()),
            blocks=tuple(self.applied),
        )


def _refused(problems: list[EditProblem], blocks: int) -> EditOutcome:
    return EditOutcome(
        applied=False,
        kind=problems[0].kind,
        problems=tuple(problems),
        message=messages.refusal(problems, blocks),
    )


def _diff(path: str, old: str | None, new: str) -> str:
    """A unified diff; a missing last newline is marked as git does."""
    before = "/dev/null" if old is None else f"a/{path}"
    pieces = []
    for line in difflib.unified_diff(
        (old or "").splitlines(keepends=True), new.splitlines(keepends=True), before, f"b/{path}"
    ):
        pieces.append(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")
    return "".join(pieces)
