"""`agent-runner explain`: the cause of a failure, of any finished run or saved log."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from agent_runner.surfaces.cli.options import JsonOption, reported
from agent_runner.surfaces.cli.output import print_json, print_text


def explain(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN_DIR|LOGFILE",
            help="A run's record folder, its run_i in a worktree, or a saved log; - for stdin.",
        ),
    ],
    returncode: Annotated[
        int | None,
        typer.Option(help="The return code that went with a log, negative for a signal."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say why a run failed: kind, place, values there, causes, what to do, and what it costs."""
    from agent_runner.service.explaining import explain_path, explain_text

    with reported(as_json):
        if source == "-":
            text = sys.stdin.buffer.read().decode("utf-8", "replace")
            explanation = explain_text(text, "stdin", returncode=returncode)
        else:
            explanation = explain_path(Path(source), returncode=returncode)
        print_json(explanation) if as_json else print_text(explanation.message)
