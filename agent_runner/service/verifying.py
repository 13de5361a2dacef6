"""`verify`: a run again with other seeds, to see whether its numbers were measured or written down."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent_runner.errors import ModelUnavailable, UnknownRun, UsageError
from agent_runner.execution.job_files import is_locked
from agent_runner.failures import printable
from agent_runner.paths import IdeaPaths, JobPaths, file_lock, try_lock, write_atomic, write_json
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
from agent_runner.service.fingerprints import fingerprint
from agent_runner.service.jobs import Progress
from agent_runner.service.matching import matched_baseline
from agent_runner.service.measuring import IMPORTED, Reference
from agent_runner.service.model_access import decide, default_model, uniform
from agent_runner.service.reseeding import SEEDS, move_seeds
from agent_runner.service.runs import (
    RunSpec,
    execute,
    given_grants,
    set_aside,
    stored_result,
)
from agent_runner.service.workspace import Workspace

Verdict = Literal["moves", "hard_coded", "doubtful", "undecided", "failed"]

# Of a verification's worktree, before `<idea>--<number>`. Two hyphens: no idea's id has them.
WORKTREE_PREFIX = "verify--"
_ATTEMPT = -1  # stands for a verification where an attempt is asked to end

# Findings with which a movement shows nothing.
_PROVE_NOTHING = {"environment-changed", "no-seeds", "nothing-shown", "partial-results"}


def verify(
    workspace: Workspace, idea: Idea, index: int, offset: int, progress: Progress
) -> Verification:
    """Run the code of a run once more, every seed moved by `offset`. It costs nothing, and changes nothing.

    Raises:
        UnknownRun: there is no such run, or it has no numbers.
        UsageError: the offset moves no seed, or the run was not measured here, or not to its end.
        ModelUnavailable: the model that the run had cannot be used now.
    """
    if not 1 <= offset < SEEDS:
        raise UsageError(
            f"seeds cannot be moved by {offset}", f"Give a whole number from 1 to {SEEDS - 1}."
        )
    before = _measured_here(workspace, idea, index)
    grants = _same_models(workspace, idea, before)
    with _turn(workspace, idea):
        now = _fingerprint_now(workspace, idea, before, grants)
        return _Verifying(workspace, idea, before, offset, grants, now, progress).verification()


def verification_lock(paths: IdeaPaths) -> Path:
    """Held by whoever verifies a run of the idea, from the beginning to the end."""
    return paths.verifications / "lock"


def is_verifying(workspace: Workspace, idea: Idea) -> bool:
    """Whether somebody verifies a run of the idea now."""
    return is_locked(str(verification_lock(workspace.paths(idea))))


def ask_to_end(workspace: Workspace, idea: Idea) -> None:
    """Ask whoever verifies a run of the idea now to end it; a later verification does not hear of it."""
    workspace.ask_to_cancel(idea, _ATTEMPT)


def end_orphan_verifications(workspace: Workspace, idea: Idea) -> None:
    """End verifications that go on although nobody is there any more who would take their numbers."""
    paths = workspace.paths(idea)
    if not paths.verifications.is_dir():
        return
    with try_lock(verification_lock(paths)) as ours:
        if ours:
            _end_orphans(workspace, idea)


@dataclass(frozen=True)
class _Verifying:
    workspace: Workspace
    idea: Idea
    before: RunResult
    offset: int
    grants: dict[str, ModelUse]
    fingerprint: str | None  # of the run, if it were run now
    progress: Progress

    def verification(self) -> Verification:
        folder = self.workspace.paths(self.idea).verifications
        number = 1 + sum(path.name.isdecimal() for path in folder.iterdir())
        records = JobPaths(folder / str(number))
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
    def _moves_by_itself(self) -> bool:
        """Whether the template's own code follows AGENT_RUNNER_SEED_OFFSET: it says so by its `[noise]`."""
        return self.idea.template.noise is not None

    @contextlib.contextmanager
    def _code(self, records: JobPaths) -> Iterator[tuple[Path, tuple[SeedMove, ...]]]:
        """The run's code in a worktree of its own, its seeds moved. What it leaves is kept with the records."""
        name = f"{WORKTREE_PREFIX}{self.idea.id}--{records.folder.name}"
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
            _remove_worktree(self.workspace, self.idea, name, records)

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
            attempt=_ATTEMPT,
            seed_offset=self.offset,
            fingerprint=self.fingerprint,
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
        changed = () if self.fingerprint == self.before.fingerprint else (_ENVIRONMENT_CHANGED,)
        if after.outcome is not Outcome.SUCCEEDED:
            return (*changed, *after.findings)
        cut_short = (finding for finding in after.findings if finding.code == "partial-results")
        moved = len(seeds) + self._moves_by_itself
        noise = self._noise_source.noise
        found = check_seed(self.before.metrics, after.metrics, moved_seeds=moved, noise=noise)
        return (*changed, *cut_short, *found)


_ENVIRONMENT_CHANGED = Finding(
    severity="warn",
    code="environment-changed",
    message="the machine, its packages or the language model are not what they were when this run was "
    "measured, and that moves numbers too: a movement proves nothing. Repeat the run, and verify that one",
)


def _verdict(after: RunResult, findings: tuple[Finding, ...]) -> Verdict:
    codes = {finding.code for finding in findings}
    if after.outcome is not Outcome.SUCCEEDED:
        return "failed"
    if "hard-coded" in codes:
        return "hard_coded"
    if codes & _PROVE_NOTHING:
        return "undecided"
    return "moves" if all(finding.severity == "info" for finding in findings) else "doubtful"


# ------------------------------------------------------------ what is verified


def _measured_here(workspace: Workspace, idea: Idea, index: int) -> RunResult:
    """The result of a run that can be repeated: one that was measured here, from its beginning to its end."""
    result = stored_result(workspace.paths(idea).run(index))
    if result is None or not result.metrics:
        raise UnknownRun(
            f"idea {idea.id!r} has no numbers of run {index} that could be verified",
            f"`agent-runner show {idea.id}` lists its runs.",
        )
    if index == 0 and result.fingerprint == IMPORTED:
        raise UsageError(
            f"run_0 of {idea.id!r} was measured elsewhere and handed in: how, is not known here, so nothing "
            "that is run here could tell whether its numbers were measured",
            "Verify a run that was made here, or start the idea without that baseline.",
        )
    cut_short = any(finding.code == "partial-results" for finding in result.findings)
    if result.outcome is not Outcome.SUCCEEDED or cut_short:
        how = "was cut short" if cut_short else f"is {result.outcome.replace('_', ' ')}"
        raise UsageError(
            f"run {index} of {idea.id!r} {how}: its numbers show how far it came, which no other run repeats, "
            "so they would move whatever they are",
            "Verify a run that came to its end.",
        )
    return result


def _same_models(workspace: Workspace, idea: Idea, before: RunResult) -> dict[str, ModelUse]:
    """Every name stands for the model that it stood for in the run."""
    given = given_grants(workspace.paths(idea).run(before.index))
    granted = before.model.granted if before.model else default_model(given)
    if not granted:
        return given
    decision = decide(workspace, idea, frozenset({granted}))
    access = decision.access(granted)
    if access is not None and access.status != "ready":
        raise ModelUnavailable(
            f"run {before.index} had the language model {access.name}, which cannot be used now: "
            f"{access.reason}",
            access.remedy or "Try again when it can.",
        )
    return given or uniform(decision.grants, granted)


def _fingerprint_now(
    workspace: Workspace, idea: Idea, before: RunResult, grants: dict[str, ModelUse]
) -> str | None:
    """The fingerprint that the run would have now; its own where it is not known to be another one."""
    granted = before.model.granted if before.model else default_model(grants)
    # A run may belong to the model that it was expected to ask for, and have asked for another.
    names = {granted, *(use.granted for use in grants.values())}
    unknown = before.fingerprint in (None, IMPORTED)
    if unknown or before.fingerprint in {fingerprint(workspace, idea, name) for name in names}:
        return before.fingerprint
    return fingerprint(workspace, idea, granted)


# ------------------------------------------------------------ one at a time


@contextlib.contextmanager
def _turn(workspace: Workspace, idea: Idea) -> Iterator[None]:
    """Hold the lock, with nothing left of earlier verifications: no job, no worktree, no request to end."""
    with file_lock(verification_lock(workspace.paths(idea))):
        _forget_request(workspace, idea)
        _end_orphans(workspace, idea)
        try:
            yield
        finally:
            _forget_request(workspace, idea)


def _forget_request(workspace: Workspace, idea: Idea) -> None:
    if workspace.is_cancelled(idea, _ATTEMPT):  # not where it is meant for an attempt
        workspace.paths(idea).cancel.unlink(missing_ok=True)


def _end_orphans(workspace: Workspace, idea: Idea) -> None:
    """A server that was killed may have left its job and its worktree. The lock is held: they are nobody's."""
    for folder in workspace.paths(idea).verifications.iterdir():
        if folder.name.isdecimal():
            _end(workspace, JobPaths(folder))
    prefix = f"{WORKTREE_PREFIX}{idea.id}--"
    for name in workspace.repository.worktrees():
        number = name.removeprefix(prefix)
        if name.startswith(prefix) and number.isdecimal():
            records = JobPaths(workspace.paths(idea).verifications / number)
            _remove_worktree(workspace, idea, name, records)


def _end(workspace: Workspace, records: JobPaths) -> None:
    job = workspace.jobs.attach(records)
    # One whose supervisor was killed, too, has left neither: what it still runs ends in `wait`.
    lost = records.started.exists() and not records.exit.exists()
    if job.alive() or lost:
        job.cancel()
        job.wait()


def _remove_worktree(workspace: Workspace, idea: Idea, name: str, records: JobPaths) -> None:
    """Remove a verification's worktree; what its run wrote is kept with its records."""
    repository = workspace.repository
    repository.restore(name, idea.base_commit, repository.changed_files(name))
    repository.remove_worktree(name, records.folder / "worktree")
