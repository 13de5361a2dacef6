"""The template's own checks before a run: seconds in which a fault is found that would have cost one."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from agent_runner.models import in_words
from agent_runner.records import Failure, Limits, ModelUse, Problem, Stage, Step
from agent_runner.results import ResultFile, check_results, read_results
from agent_runner.service import telling
from agent_runner.service.endings import Ending, problem_of, refused
from agent_runner.service.evidence import explain, read_events
from agent_runner.service.in_work import InWork
from agent_runner.service.jobs import JobRequest
from agent_runner.service.runs import grant_environment, set_aside


class Checked(InWork, Protocol):
    """What is needed of a proposal to check its code."""

    @property
    def commit(self) -> str: ...
    def cancelled(self) -> Ending | None: ...


def run_check(
    proposal: Checked, name: str, words: str, step: Step, limits: Limits
) -> Ending | None:
    """Run a check; its failure is diagnosed like any other, and costs nothing."""
    workspace, idea = proposal.workspace, proposal.idea
    worktree = workspace.paths(idea).worktree
    records = workspace.paths(idea).attempt(proposal.attempt).step(name)
    out_dir = records.out.absolute()
    set_aside(out_dir.parent)  # of the same check, by a server that was killed
    proposal.progress(name, step.command.replace("{out_dir}", "out"))
    level = workspace.level(idea.template, idea.sandbox)
    request = JobRequest(
        idea=idea.id,
        label=name,
        command=step.command,
        out_dir=str(out_dir),
        worktree=worktree,
        records=records,
        limits=limits.model_copy(update={"time_s": step.time_s}),
        level=level,
        digest=workspace.sandboxing.report(level).digest,
        gpus=idea.template.resources.gpus,
        network=idea.template.resources.network,
        writes=(out_dir.parent,),
        environment={**step.env, **grant_environment(proposal.grants)},
        cancelled=partial(workspace.is_cancelled, idea, proposal.attempt),
    )
    ended = workspace.jobs.run(request, proposal.progress)
    if (ending := proposal.cancelled()) is not None:
        return ending
    events = read_events(records)
    proposal.warnings.extend(events.warnings)
    writes_results = "{out_dir}" in step.command
    results = read_results(out_dir, not_before_ns=None) if writes_results else ResultFile()
    failure = explain(
        ended,
        records,
        worktree=worktree,
        editable=idea.template.editable,
        limits=request.limits,
        results_problem=results.problem,
    )
    if failure is not None and events.refused is not None:
        return _without_model(events.refused)
    if failure is not None:
        return _faulty(proposal, words, failure)
    proposal.warnings.extend(_doubts(words, results))
    return None


def _without_model(asked: ModelUse) -> Ending:
    """The code asks for a model that cannot be had, nor another in its place: no fault of the code's."""
    message = (
        f"Your edit was applied, but it asks for the language model {asked.requested}, which cannot be used, "
        f"so no run was started: {in_words(asked.reason, asked.remedy)}"
    )
    return refused(Stage.VALIDATE, "model_unavailable", message, "its model cannot be used here")


def _doubts(step: str, results: ResultFile) -> list[Problem]:
    """Results so small prove nothing, but what would spoil a run's is worth a word before it."""
    if results.info is None:
        return []
    return [
        Problem(
            kind=finding.code,
            message=f"{step} gave suspicious results: {finding.message}",
            severity="warning",
        )
        for finding in check_results(results.info, None)
        if finding.severity == "fail"
    ]


def _faulty(proposal: Checked, step: str, failure: Failure) -> Ending:
    reason = f"{step} found the fault before the run"
    doubts, commit = tuple(proposal.warnings), proposal.commit
    failure = failure.model_copy(update={"charged": False, "charged_reason": reason})
    return Ending(
        Stage.VALIDATE,
        reason,
        lambda budget: telling.check_failure(step, failure, doubts, commit, budget),
        (problem_of(failure),),
    )
