"""A reply applied to texts in memory: all of its blocks, or none. Pure; nothing a reply contains raises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from agent_runner.edits import messages
from agent_runner.edits.already import already_there
from agent_runner.edits.diff import unified_diff
from agent_runner.edits.display import cut
from agent_runner.edits.draft import Draft
from agent_runner.edits.explain import Explainer
from agent_runner.edits.guards import SURROGATE
from agent_runner.edits.outcome import EditedBlock, EditOutcome, EditProblem, ProblemKind
from agent_runner.edits.parse import Block, Fault, Lines, parse
from agent_runner.edits.placeholders import placeholder
from agent_runner.edits.places import Hit, exact_lines, find_places
from agent_runner.edits.replace import merge
from agent_runner.edits.sources import Source, Texts, Unreadable, listed
from agent_runner.edits.syntax import broken_syntax
from agent_runner.edits.targets import Target, Targets


def apply_reply(
    reply: str, files: Mapping[str, str], editable: Collection[str] | None = None
) -> EditOutcome:
    """Apply the SEARCH/REPLACE blocks of a reply to texts: all of them, or none.

    `files` maps paths (relative, `/` between parts) to texts; `editable` are the paths that may change, by
    default all of `files`. A path that is editable and not in `files` may be created, by a block with an
    empty SEARCH.
    """
    return plan(reply, Texts(files, listed(editable)))


def plan(reply: str, source: Source, *, dry_run: bool = False) -> EditOutcome:
    """What the reply makes of the files of `source`."""
    items = parse(reply)
    if not items:
        message = messages.no_edits()
        problem = EditProblem(kind="no_edits", message="the reply holds no SEARCH/REPLACE block")
        return EditOutcome(
            applied=False, kind="no_edits", problems=[problem], message=message, dry_run=dry_run
        )
    return _Application(source, items).outcome(dry_run=dry_run)


@dataclass(frozen=True)
class _Key:
    path: str
    search: Lines
    replace: Lines


class _Application:
    """One reply on its way: drafts of the files it touches, and what became of each block."""

    def __init__(self, source: Source, items: list[Block | Fault]) -> None:
        self._source = source
        self._items = items
        self._drafts: dict[str, Draft] = {}
        self._created: set[str] = set()
        self._folders: set[str] | None = None  # that files lie in, once one is to be created
        self._done: dict[_Key, int] = {}
        self._refused: dict[_Key, EditProblem] = {}
        self._problems: list[EditProblem] = []
        self._blocks: list[EditedBlock] = []
        targets = Targets(source.names, source.editable, self._holds)
        self._targets = [
            (item, targets.target(item.above, self._search_of(item))) for item in items
        ]
        self._times = Counter(
            _Key(target.path, item.search, item.replace)
            for item, target in self._targets
            if isinstance(item, Block) and target.path is not None
        )
        self._explainer = Explainer(source.names, self._original)
        for item, target in self._targets:
            self._take(item, target)

    @staticmethod
    def _search_of(item: Block | Fault) -> Lines:
        return item.search if isinstance(item, Block) else ()

    def outcome(self, *, dry_run: bool) -> EditOutcome:
        """The record of all of it."""
        self._check_syntax()
        changed = {
            path: draft
            for path, draft in self._drafts.items()
            if draft.text != draft.original or path in self._created
        }
        if not self._problems and not changed:
            self._refuse_without_effect()
        if self._problems:
            problems = sorted(self._problems, key=lambda problem: problem.block or 0)
            message = messages.refusal(problems, len(self._items))
            return EditOutcome(
                applied=False,
                kind=problems[0].kind,
                problems=problems,
                message=message,
                dry_run=dry_run,
            )
        return EditOutcome(
            applied=True,
            message=messages.success(self._blocks, changed, dry_run=dry_run),
            files={path: draft.content for path, draft in changed.items()},
            diff="".join(
                unified_diff(path, draft, created=path in self._created)
                for path, draft in changed.items()
            ),
            blocks=self._blocks,
            dry_run=dry_run,
        )

    # ------------------------------------------------------------ files

    def _original(self, path: str) -> str | None:
        """A file's text as the reply found it, without its byte order mark; None where it cannot be read."""
        if path in self._drafts:
            return self._drafts[path].original
        text = self._source.read(path)
        return text.removeprefix("\ufeff") if isinstance(text, str) else None

    def _holds(self, path: str, search: Lines) -> bool:
        """Whether a file holds these lines exactly."""
        text = self._original(path)
        return bool(text) and any(search) and bool(exact_lines(Draft(text or ""), search))

    def _draft(self, path: str) -> Draft | Unreadable | None:
        if path not in self._drafts:
            text = self._source.read(path)
            if not isinstance(text, str):
                return text
            self._drafts[path] = Draft(text)
        return self._drafts[path]

    # ------------------------------------------------------------ one block

    def _take(self, item: Block | Fault, target: Target) -> None:
        problem = self._apply(item, target)
        if problem is None:
            return
        self._problems.append(problem)
        if isinstance(item, Block) and target.path is not None:
            self._refused.setdefault(_Key(target.path, item.search, item.replace), problem)
            self._explainer.failed(item, target.path)

    def _apply(self, item: Block | Fault, target: Target) -> EditProblem | None:
        if isinstance(item, Fault):
            return EditProblem(
                kind="malformed",
                message=item.message,
                block=item.number,
                path=target.path,
                reply_line=item.line,
            )
        if target.path is None:
            return EditProblem(
                kind=target.kind,
                message=target.message,
                block=item.number,
                path=target.shown,
                reply_line=item.line,
            )
        key = _Key(target.path, item.search, item.replace)
        if item.search == item.replace and item.search:
            self._note(item, target.path, messages.SAME)
            return None
        if key in self._done:
            self._note(item, target.path, f"the same as block {self._done[key]}; done once")
            return None
        if key in self._refused:
            first = self._refused[key]
            same = f"it is the same as block {first.block}, which cannot be applied."
            update = {"block": item.number, "message": same, "reply_line": item.line}
            return first.model_copy(update=update)
        draft = self._draft(target.path)
        if isinstance(draft, Unreadable):
            reason = messages.forbidden(target.path, draft.reason, self._source.editable)
            return self._problem(item, target, "path_forbidden", reason)
        refused = self._check_text(item, target, draft)
        if refused is not None:
            return refused
        if not any(line.strip() for line in item.search):
            return self._fill(item, target, draft)
        if draft is None:
            return self._problem(item, target, "no_match", messages.NO_SUCH_FILE)
        return self._place(item, target, draft, self._times[key])

    def _check_text(self, item: Block, target: Target, draft: Draft | None) -> EditProblem | None:
        """What REPLACE may not hold."""
        text = "\n".join(item.replace)
        if not text.isascii():
            if SURROGATE.search(text):
                return self._problem(item, target, "malformed", messages.SURROGATE)
            if target.path in self._source.ascii_only:
                return self._problem(item, target, "malformed", messages.NOT_ASCII)
        original = draft.original if draft else ""
        lazy = placeholder(target.path or "", item.replace, item.search, original)
        if lazy is None:
            return None
        line = item.line + len(item.search) + 2 + lazy
        message = messages.placeholder(item.replace[lazy], line)
        return self._problem(item, target, "malformed", message, reply_line=line)

    def _fill(self, item: Block, target: Target, draft: Draft | None) -> EditProblem | None:
        """An empty SEARCH: a new or empty file."""
        assert target.path is not None
        if target.doubtful:
            return self._problem(item, target, "path_forbidden", target.message)
        _, lines = item.readings()[-1]
        new = "".join(f"{line}\n" for line in lines)
        if draft is not None and draft.text:
            if new.strip() and draft.text in (new, new.removesuffix("\n")):
                return self._problem(item, target, "noop", messages.already(1), line=1)
            return self._problem(item, target, "malformed", messages.EMPTY_SEARCH)
        if draft is None:
            clash = self._file_and_folder(target.path)
            if clash is not None:
                reason = f"`{cut(clash)}` cannot be both a file and a folder"
                message = messages.forbidden(target.path, reason, self._source.editable)
                return self._problem(item, target, "path_forbidden", message)
            draft = self._drafts[target.path] = Draft("")
            self._created.add(target.path)
        draft.splice(0, 0, [new] if new else [], item.number)
        self._done[_Key(target.path, item.search, item.replace)] = item.number
        self._blocks.append(
            EditedBlock(block=item.number, path=target.path, tier="new file", line=1)
        )
        return None

    def _file_and_folder(self, path: str) -> str | None:
        """A path that would have to be both, were this file created; None where there is none."""
        if self._folders is None:
            self._folders = {folder for name in self._source.names for folder in _folders(name)}
        if path in self._folders:
            return path
        above = _folders(path)
        self._folders.update(above)
        files = (self._source.names, self._created)
        return next((folder for folder in above if any(folder in names for names in files)), None)

    def _place(self, item: Block, target: Target, draft: Draft, times: int) -> EditProblem | None:
        assert target.path is not None
        hits = find_places(draft, _readings(item, draft))
        # Several lines that differ in white space only are no less sure; a single one may be chance.
        single = sum(1 for line in item.search if line.strip()) < 2
        if target.doubtful and hits and hits[0].tier != "exact" and single:
            return self._problem(item, target, "path_forbidden", target.message)
        if not hits:
            return self._explainer.no_match(item, target.path, draft, inferred=target.doubtful)
        if len(hits) > 1 and draft.text is not draft.original:
            hits = [hit for hit in hits if draft.is_original(hit.start, hit.end)] or hits
        if len(hits) > 1 and (len(hits) != times or _overlap(hits)):
            return self._explainer.ambiguous(item, target.path, draft, hits)
        merges = [(part, *merge(draft.text, part)) for hit in hits for part in hit.parts]
        for part, _, pieces in merges if len(merges) == len(hits) else ():
            there = already_there(draft, part, pieces, but_for_blanks=hits[0].tier == "blank lines")
            if there is not None:
                line = draft.original_line(there)
                return self._problem(item, target, "noop", messages.already(line), line=line)
        lines = [draft.original_line(hit.start) for hit in hits]
        for part, start, pieces in reversed(merges):  # from the end, so that offsets stay true
            draft.splice(start, part.end, pieces, item.number)
        self._done[_Key(target.path, item.search, item.replace)] = item.number
        note = f"matched: {hits[0].tier}, in all {len(hits)} places" if len(hits) > 1 else ""
        self._blocks.append(
            EditedBlock(
                block=item.number, path=target.path, tier=hits[0].tier, line=lines[0], note=note
            )
        )
        return None

    def _note(self, item: Block, path: str, note: str) -> None:
        self._blocks.append(EditedBlock(block=item.number, path=path, tier=None, note=note))

    @staticmethod
    def _problem(
        item: Block,
        target: Target,
        kind: ProblemKind,
        message: str,
        *,
        line: int | None = None,
        reply_line: int | None = None,
    ) -> EditProblem:
        return EditProblem(
            kind=kind,
            message=message,
            block=item.number,
            path=target.path,
            line=line,
            lines=[] if line is None else [line],
            reply_line=reply_line or item.line,
        )

    # ------------------------------------------------------------ all blocks

    def _check_syntax(self) -> None:
        """Of the files that all their blocks could be applied to: of others the text is not the one meant."""
        refused = {problem.path for problem in self._problems}
        for path, draft in self._drafts.items():
            if draft.text == draft.original or path in refused:
                continue
            error = broken_syntax(path, draft, created=path in self._created)
            if error is not None:
                self._problems.append(self._syntax_problem(path, draft, error))

    def _syntax_problem(self, path: str, draft: Draft, error: SyntaxError) -> EditProblem:
        offset = -1
        for _ in range((error.lineno or 1) - 1):
            offset = draft.text.find("\n", offset + 1)
        changing = {block.block for block in self._blocks if block.path == path and block.tier}
        # Where the error shows need not be where it was made; but one block alone made it.
        block = changing.pop() if len(changing) == 1 else draft.block_at(offset + 1)
        line = draft.original_line(offset + 1)
        if line is None:  # new text: where it was put
            line = next((done.line for done in self._blocks if done.block == block), None)
        return EditProblem(
            kind="malformed",
            message=messages.broken_syntax(error, draft.text),
            block=block,
            path=path,
            line=line,
            lines=[] if line is None else [line],
            reply_line=None if block is None else self._items[block - 1].line,
        )

    def _refuse_without_effect(self) -> None:
        for block in self._blocks:
            message = block.note if block.tier is None else messages.NO_EFFECT
            self._problems.append(
                EditProblem(
                    kind="noop",
                    message=message,
                    block=block.block,
                    path=block.path,
                    line=block.line,
                )
            )


def _readings(item: Block, draft: Draft) -> list[tuple[Lines, Lines]]:
    """A block's readings; the mark of a file that has one is kept apart, so a block that copied it loses it."""
    readings = item.readings()
    if not draft.bom:
        return readings
    return [
        (_without_mark(search, draft.bom), _without_mark(new, draft.bom))
        for search, new in readings
    ]


def _without_mark(lines: Lines, mark: str) -> Lines:
    return (lines[0].removeprefix(mark), *lines[1:]) if lines else lines


def _folders(path: str) -> list[str]:
    """The folders that a file lies in, the nearest first."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts) - 1, 0, -1)]


def _overlap(hits: Iterable[Hit]) -> bool:
    end = -1
    for hit in hits:
        if hit.start < end:
            return True
        end = hit.end
    return False
