"""Ending what is going on for an idea: a proposal, its baseline, or a verification."""

from __future__ import annotations

from agent_runner.execution.job_files import is_locked
from agent_runner.paths import file_lock
from agent_runner.records import Cancellation, Idea
from agent_runner.service.baselines import is_measuring
from agent_runner.service.jobs import Progress
from agent_runner.service.recovery import recover
from agent_runner.service.verifying import ask_to_end, is_verifying
from agent_runner.service.workspace import Workspace


def cancel(workspace: Workspace, idea: Idea, progress: Progress) -> Cancellation:
    """Ask whoever works on the idea to end it; what a killed server has left behind is ended and settled here.

    Where a proposal and a verification go on at once, the proposal is meant.
    """
    paths = workspace.paths(idea)
    attempts = [row.number for row in workspace.ledger.attempts(idea.id) if row.stage is None]
    held = is_locked(str(paths.lock))
    if attempts and not held:
        workspace.ask_to_cancel(idea, attempts[-1])
        with file_lock(paths.lock):
            recover(workspace, idea, progress)
        what = f"attempt {attempts[-1]}, left behind by a server that is gone, was ended"
        return Cancellation(idea=idea.id, attempt=attempts[-1], asked=True, message=what)
    if attempts or (held and is_measuring(workspace, idea)):
        attempt = attempts[-1] if attempts else 0
        workspace.ask_to_cancel(idea, attempt)
        what = f"attempt {attempt}" if attempt else "the baseline"
        message = f"{what} was asked to end"
        return Cancellation(idea=idea.id, attempt=attempt, asked=True, message=message)
    if is_verifying(workspace, idea):
        ask_to_end(workspace, idea)
        message = "the verification was asked to end"
        return Cancellation(idea=idea.id, asked=True, message=message)
    what = "nothing that could be cancelled" if held else "nothing"
    return Cancellation(idea=idea.id, asked=False, message=f"{what} is going on for {idea.id}")
