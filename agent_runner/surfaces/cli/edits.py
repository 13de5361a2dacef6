"""`agent-runner apply`: the edit engine as a tool of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent_runner.errors import UsageError
from agent_runner.surfaces.cli.options import JsonOption, read_input, reported
from agent_runner.surfaces.cli.output import Exit, print_json, print_text


def apply(
    reply: Annotated[str, typer.Argument(metavar="REPLY.md", help="The reply; - for stdin.")],
    directory: Annotated[Path, typer.Option("--dir", help="Where the files are.")],
    editable: Annotated[
        list[str] | None,
        typer.Option(help="A file that may change (repeatable).", show_default="all"),
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Write nothing; say what would happen.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Apply the SEARCH/REPLACE blocks of a reply to a folder: all of them, or none."""
    from agent_runner.edits import apply_to_directory

    with reported(as_json):
        if not directory.is_dir():
            raise UsageError(f"{directory} is not a folder", "Name the folder the files are in.")
        outcome = apply_to_directory(read_input(reply), directory, editable, dry_run=dry_run)
        print_json(outcome) if as_json else print_text(outcome.message)
        raise typer.Exit(Exit.OK if outcome.applied else Exit.REFUSED)
