"""Options shared by all commands, and the bracket that turns our errors into exit codes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent_runner.errors import AgentRunnerError, MachineError, UsageError
from agent_runner.surfaces.cli.output import print_error

if TYPE_CHECKING:
    from agent_runner.service import Runner
    from agent_runner.service.workspace import Workspace

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", help="Folder of all state.", show_default="./runs, or $AGENT_RUNNER_HOME"
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
IdeaArgument = Annotated[str, typer.Argument(metavar="IDEA", help="An idea's id, see `list`.")]


def chosen_home(context: typer.Context, home: Path | None) -> Path | None:
    """`--home` may stand before or after the command's name; None where it was not given."""
    return home or (context.obj or {}).get("home")


def open_runner(context: typer.Context, home: Path | None) -> Runner:
    """The Runner of a command."""
    from agent_runner.service import Runner  # heavy (database, git): not for --help

    return Runner(chosen_home(context, home))


def open_workspace(context: typer.Context, home: Path | None) -> Workspace:
    """The home of a command, for what concerns no idea."""
    from agent_runner.service.workspace import Workspace
    from agent_runner.settings import Settings

    settings = Settings()
    chosen = chosen_home(context, home) or settings.home
    return Workspace.open(settings.model_copy(update={"home": chosen}))


@contextmanager
def reported(as_json: bool) -> Iterator[None]:
    """Report our own errors on stderr and end with their exit code."""
    try:
        yield
    except AgentRunnerError as error:
        raise typer.Exit(print_error(error, as_json=as_json)) from error
    except OSError as error:
        machine = MachineError(
            f"{error.filename or 'the file system'}: {error.strerror or error}",
            "Check the path, its permissions and the free disk space (`agent-runner doctor`).",
        )
        raise typer.Exit(print_error(machine, as_json=as_json)) from error


def read_input(source: str) -> str:
    """Text of a file, or of stdin for `-`; undecodable bytes are kept (surrogateescape)."""
    if source == "-":
        return sys.stdin.buffer.read().decode("utf-8", errors="surrogateescape")
    try:
        return Path(source).read_bytes().decode("utf-8", errors="surrogateescape")
    except OSError as error:
        raise UsageError(
            f"{source} cannot be read: {error.strerror}", "Give a file, or - for standard input."
        ) from error


def read_result_file(path: Path) -> dict[str, Any]:
    """A final_info.json, read as strictly as a run's own."""
    from agent_runner.results.parsing import InvalidResults, parse_results

    try:
        return parse_results(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "Give a file.") from error
    except InvalidResults as error:
        raise UsageError(
            f"{path} is no result file: {error}", "Give a final_info.json, a JSON object."
        ) from error


def run_number(text: str) -> int:
    """`3`, `run_3` or `baseline`."""
    plain = text.removeprefix("run_")
    if text == "baseline":
        return 0
    if not plain.isdigit():
        raise UsageError(f"{text!r} is not a run", "Give its number (3 or run_3), or `baseline`.")
    return int(plain)
