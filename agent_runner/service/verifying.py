"""`verify`: a run again with other seeds, to see whether its numbers were measured or written down."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent_runner.errors import ModelUnavailable, UnknownRun, UsageError
from agent_runner.failures import printable
from agent_runner.paths import JobPaths, file_lock, write_atomic, write_json
from agent_runner.records import (
    Finding,
    Idea,
    ModelUse,
    Outcome,
    RunResult,
    SeedMove,
    Verification,
)
from agent_runner.results import check_seed
from agent_runner.service import telling
from agent_runner.service.jobs import Progress
from agent_runner.service.matching import matched_baseline
from agent_runner.service.measuring import Reference
from agent_runner.service.model_access import decide, uniform
from agent_runner.service.reseeding import move_seeds
from agent_runner.service.runs import RunSpec, execute, set_aside, stored_result
from agent_runner.service.workspace import Workspace

Verdict = Literal["moves", "hard_coded", "doubtful", "undecided", "failed"]


def verify(
    workspace: Workspace, idea: Idea, index: int, offset: int, progress: Progress
) -> Verification:
    """Run the code of a run once more, every seed moved by `offset`. It costs nothing, and changes nothing.

    Raises:
        UnknownRun: there is no such run, or it has no numbers.
        UsageError: the offset is zero or negative.
        ModelUnavailable: the model that the run had cannot be used now.
    """
    if offset < 1:
        raise UsageError(f"seeds cannot be moved by {offset}", "Give a whole number of at least 1.")
    result = stored_result(workspace.paths(idea).run(index))
    if result is None or not result.metrics:
        raise UnknownRun(
            f"idea {idea.id!r} has no numbers of run {index} that could be verified",
            f"`agent-runner show {idea.id}` lists its runs.",
        )
    grants = _same_model(workspace, idea, result)
    with file_lock(workspace.paths(idea).verifications / "lock"):
        return _Verifying(workspace, idea, result, offset, grants, progress).verification()


@dataclass(frozen=True)
class _Verifying:
    workspace: Workspace
    idea: Idea
    before: RunResult
    offset: int
    grants: dict[str, ModelUse]
    progress: Progress

    def verification(self) -> Verification:
        number = 1 + sum(path.name.isdecimal() for path in self._folder.iterdir())
        records = JobPaths(self._folder / str(number))
        with self._code(records) as (worktree, seeds):
            after = execute(self.workspace, self._spec(records, worktree), self.progress)
        findings = self._findings(after, seeds)
        verification = Verification(
            idea=self.idea.id,
            run=self.before.index,
            number=number,
            offset=self.offset,
            seeds=seeds,
            verdict=_verdict(after, findings),
            outcome=after.outcome,
            seconds=after.seconds,
            comparison=after.comparison,
            findings=findings,
            failure=after.failure,
            message="",
            links={"records": str(records.folder)},
        )
        message = printable(telling.verification(verification))
        verification = verification.model_copy(update={"message": message})
        write_json(records.folder / "verification.json", verification)
        return verification

    @property
    def _folder(self) -> Path:
        return self.workspace.paths(self.idea).verifications

    @property
    def _moves_by_itself(self) -> bool:
        """Whether the template's own code follows AGENT_RUNNER_SEED_OFFSET: it says so by its `[noise]`."""
        return self.idea.template.noise is not None

    @contextlib.contextmanager
    def _code(self, records: JobPaths) -> Iterator[tuple[Path, tuple[SeedMove, ...]]]:
        """The run's code in a worktree of its own, its seeds moved. What it leaves is kept with the records."""
        # Two hyphens: no idea's id has them.
        name = f"verify--{self.idea.id}"
        repository, editable = self.workspace.repository, self.idea.template.editable
        folder = self.workspace.home.worktrees / name
        repository.add_worktree(name, self.idea.base_commit)
        repository.restore(name, self.idea.base_commit, repository.changed_files(name))
        repository.restore(name, self.before.commit, editable)
        set_aside(folder / f"run_{self.before.index}")  # of a server that was killed
        seeds: list[SeedMove] = []
        for file in editable:
            if file.endswith(".py"):
                seeds += self._move(folder / file, file)
        try:
            yield folder, tuple(seeds)
        finally:
            repository.restore(name, self.idea.base_commit, repository.changed_files(name))
            repository.remove_worktree(name, records.folder / "worktree")

    def _move(self, path: Path, file: str) -> list[SeedMove]:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return []
        moved_text, moved = move_seeds(text, self.offset)
        write_atomic(path, moved_text.encode("utf-8"))
        return [SeedMove(file=file, line=m.line, value=m.value, moved=m.moved) for m in moved]

    def _spec(self, records: JobPaths, worktree: Path) -> RunSpec:
        return RunSpec(
            idea=self.idea,
            index=self.before.index,
            commit=self.before.commit,
            tree=self.before.tree,
            worktree=worktree,
            records=records,
            grants=self.grants,
            attempt=-1,  # none: `cancel` is for proposals
            seed_offset=self.offset,
            fingerprint=self.before.fingerprint,
            reference=Reference(
                f"run_{self.before.index}",
                self.before.model_copy(update={"noise": self._noise_source.noise}),
            ),
        )

    @property
    def _noise_source(self) -> RunResult:
        """The baseline whose noise floor holds for the run: its own, for a baseline."""
        if self.before.index == 0:
            return self.before
        rows = self.workspace.ledger.runs(self.idea.id)
        attempt = next((row.attempt for row in rows if row.number == self.before.index), None)
        found = matched_baseline(self.workspace, self.idea, attempt or 0).result
        return found or self.before

    def _findings(self, after: RunResult, seeds: tuple[SeedMove, ...]) -> tuple[Finding, ...]:
        if after.outcome is not Outcome.SUCCEEDED:
            return after.findings
        moved = len(seeds) + self._moves_by_itself
        noise = self._noise_source.noise
        return check_seed(self.before.metrics, after.metrics, moved_seeds=moved, noise=noise)


def _same_model(workspace: Workspace, idea: Idea, result: RunResult) -> dict[str, ModelUse]:
    """Every name stands for the model that the run had."""
    if result.model is None:
        return {}
    decision = decide(workspace, idea, frozenset({result.model.granted}))
    access = decision.access(result.model.granted)
    if access is not None and access.status != "ready":
        raise ModelUnavailable(
            f"run {result.index} had the language model {access.name}, which cannot be used now: "
            f"{access.reason}",
            access.remedy or "Try again when it can.",
        )
    return uniform(decision.grants, result.model.granted)


def _verdict(after: RunResult, findings: tuple[Finding, ...]) -> Verdict:
    codes = {finding.code for finding in findings}
    if after.outcome is not Outcome.SUCCEEDED:
        return "failed"
    if "hard-coded" in codes:
        return "hard_coded"
    if "no-seeds" in codes:
        return "undecided"
    return "moves" if all(finding.severity == "info" for finding in findings) else "doubtful"
