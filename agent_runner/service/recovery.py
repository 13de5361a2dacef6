"""Taking up what an earlier server process left unfinished. Runs under the idea's lock, and is repeatable.

Holding the lock proves that no living process works on the idea; a run itself may well still be going
on, under its own supervisor.
"""

from __future__ import annotations

from agent_runner.ledger import RunRow
from agent_runner.paths import JobPaths, read_json, read_text
from agent_runner.records import Idea, Observation, Problem, Reconciled, Stage
from agent_runner.service import telling
from agent_runner.service.endings import Ending, conclude, run_ending
from agent_runner.service.jobs import Progress
from agent_runner.service.proposals import Proposal
from agent_runner.service.runs import adopt, execute, stored_result
from agent_runner.service.workspace import Workspace


def recover(
    workspace: Workspace,
    idea: Idea,
    progress: Progress,
    *,
    retried_key: str | None = None,
    leave_living: bool = False,
) -> Reconciled:
    """Settle every attempt of the idea that has no stored Observation. A run that goes on is waited for.

    leave_living: leave the attempt of such a run open instead.

    An attempt that is just being repeated under its idempotency key, and of which no run was reserved, is
    left open: the caller takes it from the start.
    """
    runs = {row.attempt: row for row in workspace.ledger.runs(idea.id) if row.attempt is not None}
    paths = workspace.paths(idea)
    settled: list[int] = []
    living: list[int] = []
    for attempt in workspace.ledger.attempts(idea.id):
        records = paths.attempt(attempt.number)
        if attempt.stage is not None and records.observation.exists():
            continue
        row = runs.get(attempt.number)
        if leave_living and row and workspace.jobs.attach(paths.run(row.number)).alive():
            living.append(attempt.number)
            continue
        progress("recover", f"attempt {attempt.number}")
        workspace.repository.repair(idea.id, idea.base_commit)
        if row is None and attempt.stage is None:
            workspace.repository.undo_attempt(idea.id, attempt.number)
            if attempt.key is not None and attempt.key == retried_key:
                continue
        proposal = Proposal(
            workspace,
            idea,
            attempt.number,
            read_text(records.reply),
            progress,
            attempt.created,
            commit=row.commit if row else "",
            tree=row.tree if row else attempt.tree,
        )
        ending = _interrupted() if row is None else _finish_run(proposal, row)
        conclude(proposal, ending)
        settled.append(attempt.number)
    return Reconciled(idea=idea.id, settled=tuple(settled), living=tuple(living))


def stored_observation(workspace: Workspace, idea: Idea, attempt: int) -> Observation:
    """The Observation an attempt was answered with. `recover` has made sure that there is one."""
    stored = read_json(workspace.paths(idea).attempt(attempt).observation)
    return Observation.model_validate(stored)


def _interrupted() -> Ending:
    """No run was reserved, and what was half done has been undone."""
    problem = Problem(
        kind="interrupted",
        message="The runner was stopped while it worked on this proposal, before any run was started. "
        "Nothing was charged; send the proposal again.",
    )
    return Ending(
        Stage.APPLY,
        "the runner was stopped before a run was started",
        lambda budget: telling.refusal((problem,), budget),
        (problem,),
    )


def _finish_run(proposal: Proposal, row: RunRow) -> Ending:
    """Adopt a living run, conclude a finished one from its records, start one that was reserved and no more."""
    workspace, idea = proposal.workspace, proposal.idea
    records = workspace.paths(idea).run(row.number)
    result = stored_result(records)
    if result is None:
        workspace.repository.set_run_ref(idea.id, row.number, row.commit)
        if _was_never_started(workspace, records):
            proposal.undo_strays()
            result = execute(workspace, proposal.run_spec(row.number), proposal.progress)
        else:
            result = adopt(workspace, proposal.run_spec(row.number), proposal.progress)
    return run_ending(proposal, result)


def _was_never_started(workspace: Workspace, records: JobPaths) -> bool:
    """Whether there is no trace of a start. Its reservation stands, so it may still have its one."""
    if workspace.jobs.attach(records).alive():
        return False
    return not records.started.exists() and not records.exit.exists()
