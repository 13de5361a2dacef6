"""The baseline of an idea: run_0, the template as it is, shared by every idea with the same fingerprint."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from functools import partial

from agent_runner.execution.job_files import is_locked
from agent_runner.paths import JobPaths, read_json, try_lock, write_atomic
from agent_runner.records import Idea, Limits, ModelUse, Outcome, RunResult, Step
from agent_runner.service.jobs import JobRequest, Progress
from agent_runner.service.runs import (
    RunSpec,
    copy_records,
    execute,
    grant_environment,
    stored_result,
)
from agent_runner.service.workspace import Workspace

_POLL_S = 0.2  # how soon a waiting idea hears of a free lock, or of its cancellation


def ensure_baseline(
    workspace: Workspace,
    idea: Idea,
    progress: Progress,
    *,
    repeat_failed: bool = False,
    attempt: int = 0,
) -> RunResult:
    """The idea's baseline: as recorded, as shared by an equal idea, or run now. Never charged.

    A failure on record stands only where it was the template's own doing, and `repeat_failed` is not asked
    for; one that was cancelled, or that the machine has caused, says nothing of the template.

    attempt: the one that needs it; with its cancellation this ends, too. Where that comes while another idea
        measures the same baseline, the result is `not_started` and is not recorded.
    """
    own = workspace.paths(idea).run(0)
    recorded = stored_result(own)
    if recorded is not None and _stands(recorded, repeat_failed):
        if not _is_settled(workspace, idea, recorded):  # a server was killed before it came to that
            _reserve(workspace, idea)
            _settle(workspace, idea, own, recorded)
        return recorded
    grants = workspace.model_grants(idea)
    fingerprint = workspace.fingerprint(idea, grants)
    shared = workspace.home.baseline(fingerprint)
    with _turn(workspace, idea, fingerprint, progress, attempt) as ours:
        if not ours:
            return RunResult(
                index=0, outcome=Outcome.NOT_STARTED, commit=idea.base_commit, tree=idea.base_tree
            )
        result = stored_result(shared)
        if result is None or result.outcome is not Outcome.SUCCEEDED:
            result = _run_baseline(workspace, idea, fingerprint, grants, progress, attempt)
        else:
            progress("baseline", "already measured for this template, model and machine")
        _reserve(workspace, idea)  # first: a record without a row would be nobody's
        # Under the lock: an equal idea may be about to repeat a failed one.
        copy_records(shared, own, earlier=workspace.paths(idea).folder / "baselines-before")
    _settle(workspace, idea, own, result)
    return result


def is_measuring(workspace: Workspace, idea: Idea) -> bool:
    """Whether somebody measures the idea's baseline now, for this idea or for an equal one."""
    fingerprint = workspace.fingerprint(idea, workspace.model_grants(idea))
    return is_locked(str(workspace.home.baseline_lock(fingerprint)))


def _stands(recorded: RunResult, repeat_failed: bool) -> bool:
    """Whether a baseline on record is the answer, and no other is to be measured."""
    if recorded.outcome is Outcome.SUCCEEDED:
        return True
    if repeat_failed or recorded.outcome is Outcome.CANCELLED:
        return False
    return recorded.failure is not None and recorded.failure.charged


@contextlib.contextmanager
def _turn(
    workspace: Workspace, idea: Idea, fingerprint: str, progress: Progress, attempt: int
) -> Iterator[bool]:
    """Hold the baseline's lock, once it is free; False, and not held, where that was cancelled before."""
    told = False
    while True:
        with try_lock(workspace.home.baseline_lock(fingerprint)) as ours:
            if ours:
                yield True
                return
        if workspace.is_cancelled(idea, attempt):
            yield False
            return
        if not told:
            progress("baseline", "being measured for another idea; waiting")
            told = True
        time.sleep(_POLL_S)


def _run_baseline(
    workspace: Workspace,
    idea: Idea,
    fingerprint: str,
    grants: dict[str, ModelUse],
    progress: Progress,
    attempt: int,
) -> RunResult:
    """Run the template in a worktree of its own, after its shared inputs were made."""
    name = f"baseline-{fingerprint}"
    folder = workspace.home.worktrees / name
    if not folder.exists():
        workspace.repository.add_worktree(name, idea.base_commit)
    workspace.repository.restore(name, idea.base_commit, workspace.repository.changed_files(name))
    shared = workspace.home.baseline(fingerprint)
    _end_orphans(workspace, shared)
    _set_aside(shared)
    if idea.template.prepare is not None:
        _prepare(workspace, idea, name, idea.template.prepare, shared, grants, progress, attempt)
    spec = RunSpec(
        idea=idea,
        index=0,
        commit=idea.base_commit,
        tree=idea.base_tree,
        worktree=folder,
        records=shared,
        grants=grants,
        attempt=attempt,
    )
    return execute(workspace, spec, progress)


def end_orphans(workspace: Workspace) -> None:
    """End baselines that go on although nobody is there any more who would take their results."""
    for lock in workspace.home.baseline_locks():
        with try_lock(lock) as ours:  # held until it has ended: a new one may be about to start
            if ours:
                _end_orphans(workspace, workspace.home.baseline(lock.stem))


def _end_orphans(workspace: Workspace, shared: JobPaths) -> None:
    """A server that was killed may have left its baseline running, and nobody to take its result."""
    for records in (shared, JobPaths(shared.folder / "prepare")):
        if records.started.exists():
            job = workspace.jobs.attach(records)
            job.cancel()
            job.wait()


def _set_aside(records: JobPaths) -> None:
    """Keep what is left of an earlier baseline below `earlier-<n>`: a new one starts with no records."""
    if not records.folder.exists():
        return
    earlier = set(records.folder.glob("earlier-*"))
    current = set(records.folder.iterdir()) - earlier
    if not current:
        return
    target = records.folder / f"earlier-{len(earlier) + 1}"
    target.mkdir()
    # The result first: a server that is killed over this leaves nothing that looks complete.
    for path in sorted(current, key=lambda path: path != records.result):
        path.rename(target / path.name)


def _prepare(
    workspace: Workspace,
    idea: Idea,
    worktree: str,
    step: Step,
    records: JobPaths,
    grants: dict[str, ModelUse],
    progress: Progress,
    attempt: int,
) -> None:
    """Fill the shared inputs. A failure here is not fatal: each run then makes them for itself."""
    progress("prepare", step.command)
    inputs = JobPaths(records.folder / "prepare")
    level = workspace.level(idea.template, idea.sandbox)
    request = JobRequest(
        idea=idea.id,
        label="prepare",
        command=step.command,
        out_dir="",
        worktree=workspace.home.worktrees / worktree,
        records=inputs,
        limits=Limits(time_s=step.time_s),
        level=level,
        digest=workspace.sandboxing.report(level).digest,
        gpus=idea.template.resources.gpus,
        network=idea.template.resources.network,
        writes=(workspace.home.cache,),
        environment={**step.env, **grant_environment(grants)},
        cancelled=partial(workspace.is_cancelled, idea, attempt),
    )
    ended = workspace.jobs.run(request, progress)
    if ended.returncode != 0:
        progress("prepare", f"failed ({ended.reason}); the baseline goes on without shared inputs")


def _reserve(workspace: Workspace, idea: Idea) -> None:
    workspace.ledger.reserve_run(
        idea.id, attempt=None, tree=idea.base_tree, commit=idea.base_commit, baseline=True
    )


def _is_settled(workspace: Workspace, idea: Idea, result: RunResult) -> bool:
    """Whether everything was done that follows from a baseline's records."""
    return any(
        row.number == 0 and row.state != "reserved" and row.outcome == result.outcome
        for row in workspace.ledger.runs(idea.id)
    )


def _settle(workspace: Workspace, idea: Idea, own: JobPaths, result: RunResult) -> None:
    """Hand over the numbers, and enter the baseline in git and, as the last step, in the ledger. Repeatable."""
    _hand_over(workspace, idea, own)
    workspace.repository.set_run_ref(idea.id, 0, idea.base_commit)
    workspace.ledger.settle_run(
        idea.id, 0, charged=False, outcome=result.outcome, reason="the baseline costs nothing"
    )


def _hand_over(workspace: Workspace, idea: Idea, own: JobPaths) -> None:
    """Put run_0/final_info.json where the idea's own scripts (a plot.py, say) look for it."""
    info = read_json(own.final_info)
    if info is not None:
        out_dir = workspace.paths(idea).worktree / "run_0"
        if not out_dir.is_symlink():
            write_atomic(out_dir / "final_info.json", own.final_info.read_bytes())
