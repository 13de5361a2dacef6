"""Taking up what an earlier server process left unfinished. Runs under the idea's lock, and is repeatable.

Holding the lock proves that no living process works on the idea; a run itself may well still be going
on, under its own supervisor.
"""

from __future__ import annotations

from agent_runner.ledger import AttemptRow, RunRow
from agent_runner.paths import AttemptPaths, IdeaPaths, JobPaths, read_json, read_text
from agent_runner.records import Idea, Observation, Problem, Reconciled, Stage
from agent_runner.service import telling
from agent_runner.service.endings import Ending, answer_lost, conclude, run_ending
from agent_runner.service.jobs import Progress
from agent_runner.service.proposals import Proposal
from agent_runner.service.runs import adopt, stored_result
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

    leave_living: leave the attempt open instead, also where the run was reserved and is still to be started.

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
        if leave_living and row and _may_go_on(workspace, paths.run(row.number), row):
            living.append(attempt.number)
            continue
        progress("recover", f"attempt {attempt.number}")
        workspace.repository.repair(idea.id, idea.base_commit)
        _end_checks(workspace, records)
        if attempt.stage is None and not _has_run(paths, row):
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
        conclude(proposal, _ending(proposal, attempt, row))
        settled.append(attempt.number)
    return Reconciled(idea=idea.id, settled=tuple(settled), living=tuple(living))


def _ending(proposal: Proposal, attempt: AttemptRow, row: RunRow | None) -> Ending:
    paths = proposal.workspace.paths(proposal.idea)
    if row is not None and _has_run(paths, row):
        return _finish_run(proposal, row)
    if attempt.stage is None:
        return _interrupted()
    charged, reason = bool(attempt.charged), attempt.reason or "as the ledger has it"
    return answer_lost(Stage(attempt.stage), reason, charged=charged)


def _has_run(paths: IdeaPaths, row: RunRow | None) -> bool:
    """Whether there is, or may still be, a run: not if what was reserved has been given back unstarted."""
    return row is not None and (row.state != "refunded" or paths.run(row.number).result.exists())


def _may_go_on(workspace: Workspace, records: JobPaths, row: RunRow) -> bool:
    """Whether its run goes on, or is still to be started: neither is for somebody who only tidies up."""
    if row.state != "reserved":
        return False
    return workspace.jobs.attach(records).alive() or _was_never_started(workspace, records)


def _end_checks(workspace: Workspace, records: AttemptPaths) -> None:
    """A server that was killed during a check before the run may have left that going on."""
    for name in ("preflight", "smoke"):
        job = workspace.jobs.attach(records.step(name))
        if job.alive():
            job.cancel()
            job.wait()


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
        if _was_never_started(workspace, records):
            proposal.undo_strays()
            return proposal.launch(row.number)
        workspace.repository.set_run_ref(idea.id, row.number, row.commit)
        result = adopt(workspace, proposal.run_spec(row.number, starting=False), proposal.progress)
    return run_ending(proposal, result)


def _was_never_started(workspace: Workspace, records: JobPaths) -> bool:
    """Whether there is no trace of a start. Its reservation stands, so it may still have its one."""
    if workspace.jobs.attach(records).alive():
        return False
    return not records.started.exists() and not records.exit.exists()
