"""The baseline of an idea: run_0, the template as it is, shared by every idea with the same fingerprint."""

from __future__ import annotations

import shutil
from functools import partial

from agent_runner.paths import JobPaths, file_lock, is_held, read_json, write_atomic
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


def ensure_baseline(
    workspace: Workspace,
    idea: Idea,
    progress: Progress,
    *,
    repeat_failed: bool = False,
    attempt: int = 0,
) -> RunResult:
    """The idea's baseline: as recorded, as shared by an equal idea, or run now. Never charged.

    attempt: the one that needs it; with its cancellation this ends, too.
    """
    own = workspace.paths(idea).run(0)
    recorded = stored_result(own)
    if recorded is not None and (recorded.outcome is Outcome.SUCCEEDED or not repeat_failed):
        return recorded
    grants = workspace.model_grants(idea)
    fingerprint = workspace.fingerprint(idea, grants)
    shared = workspace.home.baseline(fingerprint)
    with file_lock(workspace.home.baseline_lock(fingerprint)):
        result = stored_result(shared)
        if result is None or result.outcome is not Outcome.SUCCEEDED:
            result = _run_baseline(workspace, idea, fingerprint, grants, progress, attempt)
        else:
            progress("baseline", "already measured for this template, model and machine")
    shutil.rmtree(own.folder, ignore_errors=True)
    copy_records(shared, own)
    _hand_over(workspace, idea, shared)
    _record(workspace, idea, result)
    return result


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
    shutil.rmtree(shared.folder, ignore_errors=True)
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
        if not is_held(lock):
            _end_orphans(workspace, workspace.home.baseline(lock.stem))


def _end_orphans(workspace: Workspace, shared: JobPaths) -> None:
    """A server that was killed may have left its baseline running, and nobody to take its result."""
    for records in (shared, JobPaths(shared.folder / "prepare")):
        if records.started.exists():
            job = workspace.jobs.attach(records)
            job.cancel()
            job.wait()


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
    request = JobRequest(
        idea=idea.id,
        label="prepare",
        command=step.command,
        out_dir="",
        worktree=workspace.home.worktrees / worktree,
        records=inputs,
        limits=Limits(time_s=step.time_s),
        level=workspace.level(idea.template, idea.sandbox),
        gpus=idea.template.resources.gpus,
        network=idea.template.resources.network,
        writes=(workspace.home.cache,),
        environment={**step.env, **grant_environment(grants)},
        cancelled=partial(workspace.is_cancelled, idea, attempt),
    )
    ended = workspace.jobs.run(request, progress)
    if ended.returncode != 0:
        progress("prepare", f"failed ({ended.reason}); the baseline goes on without shared inputs")


def _hand_over(workspace: Workspace, idea: Idea, shared: JobPaths) -> None:
    """Put run_0/final_info.json where the idea's own scripts (a plot.py, say) look for it."""
    info = read_json(shared.final_info)
    if info is not None:
        out_dir = workspace.paths(idea).worktree / "run_0"
        if not out_dir.is_symlink():
            write_atomic(out_dir / "final_info.json", shared.final_info.read_bytes())


def _record(workspace: Workspace, idea: Idea, result: RunResult) -> None:
    workspace.ledger.reserve_run(
        idea.id, attempt=None, tree=idea.base_tree, commit=idea.base_commit, baseline=True
    )
    workspace.ledger.settle_run(
        idea.id, 0, charged=False, outcome=result.outcome, reason="the baseline costs nothing"
    )
    workspace.repository.set_run_ref(idea.id, 0, idea.base_commit)
