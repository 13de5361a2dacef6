"""How a proposal ends: what it means for budget and history, and what the agent is told. In one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from agent_runner.errors import ExecutorError
from agent_runner.failures import printable
from agent_runner.paths import write_json
from agent_runner.records import (
    Budget,
    Failure,
    Observation,
    Outcome,
    Problem,
    RunResult,
    Stage,
)
from agent_runner.service import telling
from agent_runner.service.evidence import shown_output
from agent_runner.service.in_work import InWork
from agent_runner.service.runs import charge


class Ended(InWork, Protocol):
    """What is needed of a proposal to conclude it."""

    @property
    def reply(self) -> str: ...
    @property
    def begun(self) -> str: ...
    @property
    def tree(self) -> str | None: ...


@dataclass(frozen=True)
class Ending:
    """Where a proposal ended. `tell` writes the agent's message, given the budget after it."""

    stage: Stage
    reason: str
    tell: Callable[[Budget], str]
    problems: tuple[Problem, ...] = ()
    accepted: bool = False
    charged: bool = False
    run: RunResult | None = None


def run_ending(proposal: Ended, run: RunResult) -> Ending:
    """The ending of a proposal whose run has ended. Settles the reservation: spent, or refunded."""
    workspace, idea = proposal.workspace, proposal.idea
    charged, reason = charge(run)
    workspace.ledger.settle_run(
        idea.id, run.index, charged=charged, outcome=run.outcome, reason=reason
    )
    warnings = tuple(proposal.warnings)
    output = shown_output(workspace.paths(idea).run(run.index))
    return Ending(
        Stage.DONE if run.outcome is Outcome.SUCCEEDED else Stage.EXECUTE,
        reason,
        lambda budget: telling.run_report(run, warnings, budget, output),
        (problem_of(run.failure),) if run.failure is not None else (),
        accepted=run.outcome is not Outcome.NOT_STARTED,
        charged=charged,
        run=run,
    )


def conclude(proposal: Ended, ending: Ending) -> Observation:
    """Settle the attempt in the ledger, add the exchange to the history, and store the Observation."""
    workspace, idea = proposal.workspace, proposal.idea
    paths = workspace.paths(idea)
    records = paths.attempt(proposal.attempt)
    # Also of an attempt that changed nothing: git's log tells all that happened.
    workspace.repository.record_attempt(
        idea.id,
        proposal.attempt,
        subject=f"attempt {proposal.attempt}: {ending.reason}",
        date=proposal.begun,
    )
    workspace.ledger.settle_attempt(
        idea.id,
        proposal.attempt,
        stage=ending.stage,
        charged=ending.charged,
        reason=ending.reason,
        tree=proposal.tree,
    )
    budget = workspace.budget(idea, charged=ending.charged, reason=ending.reason)
    message = printable(ending.tell(budget))  # a run names its metrics and errors as it likes
    history = workspace.say(idea, proposal.reply, message, key=f"attempt {proposal.attempt}")
    run_records = paths.run(ending.run.index) if ending.run else None
    observation = Observation(
        idea=idea.id,
        attempt=proposal.attempt,
        accepted=ending.accepted,
        stage=ending.stage,
        problems=(*ending.problems, *proposal.warnings),
        run=ending.run,
        budget=budget,
        message=message,
        messages=tuple(history.messages()),
        links={
            "diff": str(records.diff) if records.diff.exists() else None,
            "logs": str(run_records.folder) if run_records else None,
            "records": str(records.folder),
            "worktree": str(paths.worktree),
            "review": None,
        },
    )
    write_json(records.observation, observation)
    return observation


def problem_of(failure: Failure) -> Problem:
    """A failure in one line, with its place."""
    place = failure.location
    return Problem(
        kind=failure.kind,
        message=failure.message,
        path=place.file if place else None,
        line=place.line if place else None,
    )


def out_of_budget(*, applied: bool) -> Ending:
    """No run is left: found before any work, or (another process was quicker) after the edit was applied."""
    what = "Your edit was applied, but" if applied else "Nothing was changed:"
    message = f"{what} the run budget of this idea is used up. Its results stand."
    return refused(Stage.ADMIT, "budget_exhausted", message, "no runs left")


def cancelled(stage: Stage, *, applied: bool) -> Ending:
    """Somebody asked for its end before its run was started."""
    what = "Your edit was applied, but no" if applied else "Nothing was changed, and no"
    message = f"{what} run was started: this proposal was cancelled by the people who run this."
    return refused(stage, "cancelled", message, "cancelled before a run was started")


def not_started(error: ExecutorError, reason: str) -> Ending:
    """The machine could not start the run: it was given back, and so was the edit."""
    message = (
        f"No run was started: {error.message}. Your edit was taken back, so that the same proposal can be sent "
        f"again once that is mended. {error.remedy}"
    )
    return refused(Stage.EXECUTE, "not_started", message, reason)


def answer_lost(stage: Stage, reason: str, *, charged: bool) -> Ending:
    """It had been decided upon, and the runner was stopped before the answer was written."""
    message = f"The runner was stopped when it had ended this proposal ({reason}); its full answer is lost."
    ending = refused(stage, "answer_lost", message, reason)
    return replace(ending, charged=charged)


def refused(stage: Stage, kind: str, message: str, reason: str) -> Ending:
    return refused_for((Problem(kind=kind, message=message),), reason, stage)


def refused_for(problems: Sequence[Problem], reason: str, stage: Stage = Stage.VALIDATE) -> Ending:
    return Ending(stage, reason, lambda budget: telling.refusal(problems, budget), tuple(problems))
