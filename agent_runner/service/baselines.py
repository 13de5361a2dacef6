"""The baseline of an idea: run_0, the template as it is, shared by every idea with the same fingerprint."""

from __future__ import annotations

from functools import partial

from agent_runner import models
from agent_runner.errors import ModelUnavailable
from agent_runner.execution.job_files import is_locked
from agent_runner.paths import JobPaths, read_json, write_atomic, write_json
from agent_runner.records import Idea, Outcome, RunResult
from agent_runner.service.fingerprints import fingerprint
from agent_runner.service.jobs import Progress
from agent_runner.service.measuring import IMPORTED
from agent_runner.service.model_access import Wanted, decide, default_model, uniform
from agent_runner.service.runs import copy_records, stored_result
from agent_runner.service.shared_baselines import SharedBaseline, stands
from agent_runner.service.workspace import Workspace


def ensure_baseline(
    workspace: Workspace,
    idea: Idea,
    progress: Progress,
    *,
    repeat_failed: bool = False,
    attempt: int = 0,
    wanted: Wanted | None = None,
) -> RunResult:
    """The idea's baseline: as recorded, as shared by an equal idea, or run now. Never charged.

    A failure on record stands only where it was the template's own doing, and `repeat_failed` is not asked for.

    Raises:
        ModelUnavailable: none of the models that it may use can be used here.

    attempt: the one that needs it; with its cancellation this ends, too. Where that comes while another idea
        measures the same baseline, the result is `not_started` and is not recorded.
    wanted: with which models, where that was decided before.
    """
    own = workspace.paths(idea).run(0)
    recorded = stored_result(own)
    if recorded is not None and stands(recorded, repeat_failed):
        if not _is_settled(workspace, idea, recorded):  # a server was killed before it came to that
            _reserve(workspace, idea)
            _settle(workspace, idea, own, recorded)
        return _with_noise(workspace, idea, recorded, wanted, progress, attempt)
    wanted = wanted or _wanted(workspace, idea, progress, attempt)
    shared = _shared(workspace, idea, wanted, progress, attempt)
    with shared.measured() as result:
        if result is None:
            return RunResult(
                index=0, outcome=Outcome.NOT_STARTED, commit=idea.base_commit, tree=idea.base_tree
            )
        _reserve(workspace, idea)  # first: a record without a row would be nobody's
        # Under the lock: an equal idea may be about to repeat a failed one.
        before = workspace.paths(idea).folder / "baselines-before"
        copy_records(shared.records, own, earlier=before)
    _settle(workspace, idea, own, result)
    return result


def is_measuring(workspace: Workspace, idea: Idea) -> bool:
    """Whether somebody sees to the idea's baseline now, not as part of a proposal."""
    return is_locked(str(workspace.paths(idea).measuring))


def default_fingerprint(workspace: Workspace, idea: Idea) -> str:
    """Of the baseline that the idea would get on this machine now. Nothing is fetched for the question."""
    decision = decide(workspace, idea, cancelled=lambda: True)
    return fingerprint(workspace, idea, default_model(decision.grants))


def _wanted(workspace: Workspace, idea: Idea, progress: Progress, attempt: int) -> Wanted:
    """With the model that the template asks for, or what it gets instead."""
    cancelled = partial(workspace.is_cancelled, idea, attempt)
    decision = decide(workspace, idea, progress=progress, cancelled=cancelled)
    granted = default_model(decision.grants)
    if decision.has_models and not granted:
        listing = models.available(decision.accesses, idea.models)
        raise ModelUnavailable(
            f"no language model can be used for {idea.id}:\n{listing}",
            "See what a person can do at each, or allow other models (`idea new` without --no-fallback).",
        )
    return Wanted(decision.grants, granted)


def _shared(
    workspace: Workspace, idea: Idea, wanted: Wanted, progress: Progress, attempt: int
) -> SharedBaseline:
    mark = fingerprint(workspace, idea, wanted.granted)
    grants = uniform(wanted.grants, wanted.granted)
    return SharedBaseline(workspace, idea, grants, mark, progress, attempt)


def _with_noise(
    workspace: Workspace,
    idea: Idea,
    recorded: RunResult,
    wanted: Wanted | None,
    progress: Progress,
    attempt: int,
) -> RunResult:
    """The baseline on record, with the noise floor that it lacks because measuring that was broken off."""
    lacks = idea.template.noise is not None and recorded.noise is None
    if not lacks or recorded.fingerprint in (None, IMPORTED):
        return recorded
    if recorded.outcome is not Outcome.SUCCEEDED:
        return recorded
    wanted = wanted or _wanted(workspace, idea, progress, attempt)
    granted = recorded.model.granted if recorded.model else wanted.granted
    shared = _shared(workspace, idea, Wanted(wanted.grants, granted), progress, attempt)
    if shared.fingerprint != recorded.fingerprint:
        return recorded  # of an environment that is gone
    with shared.measured() as result:
        if result is None or result.noise is None:
            return recorded
    recorded = recorded.model_copy(update={"noise": result.noise})
    write_json(workspace.paths(idea).run(0).result, recorded)
    return recorded


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
