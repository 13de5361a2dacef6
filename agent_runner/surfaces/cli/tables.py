"""Ideas and runs as tables for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from agent_runner.records import IdeaView, Outcome, RunResult
from agent_runner.surfaces.cli.output import data, notes, print_text

_STYLES = {Outcome.SUCCEEDED: "green", Outcome.CANCELLED: "yellow", Outcome.TIMED_OUT: "yellow"}


def ideas_table(views: Sequence[IdeaView]) -> None:
    table = Table("idea", "title", "runs used", "proposals", "last outcome", box=None)
    for view in views:
        proposals = len(view.attempts)
        last = view.runs[-1].outcome if view.runs else "-"
        used = f"{view.budget.used} of {view.budget.max_runs}"
        table.add_row(view.idea.id, escape(view.idea.title), used, str(proposals), str(last))
    data.print(table)
    if not views:
        notes.print("No ideas yet: agent-runner idea new --title ...")


def runs_table(view: IdeaView) -> None:
    """The attempts of an idea, one line each, with the run each led to."""
    budget = view.budget
    print_text(f"{view.idea.id}: {view.idea.title}")
    print_text(f"{budget.used} of {budget.max_runs} runs used. Files: {view.links['worktree']}")
    table = Table("attempt", "ended at", "run", "outcome", "cost", "why", box=None)
    results = {run.index: run for run in view.runs}
    if 0 in results:
        table.add_row("", "", "baseline", _outcome(results[0]), "0", "")
    for attempt in view.attempts:
        run = results.get(attempt.run) if attempt.run is not None else None
        table.add_row(
            str(attempt.attempt),
            str(attempt.stage or "..."),
            "" if attempt.run is None else f"run_{attempt.run}",
            _outcome(run) if run else "",
            "1" if attempt.charged else "0",
            escape(attempt.reason),
        )
    data.print(table)


def run_card(run: RunResult) -> None:
    """One run in full."""
    from agent_runner.service.telling import describe_run

    print_text(describe_run(run))
    if run.diff_stat:
        print_text(f"\nAgainst the template: {run.diff_stat}")


def _outcome(run: RunResult) -> str:
    style = _STYLES.get(run.outcome, "red")
    return f"[{style}]{run.outcome}[/{style}]"
