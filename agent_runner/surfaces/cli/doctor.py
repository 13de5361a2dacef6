"""`agent-runner doctor`: what is wrong with this installation, and the command that mends it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from agent_runner.surfaces.cli.options import HomeOption, JsonOption, chosen_home
from agent_runner.surfaces.cli.output import Exit, data, print_json

_MARKS = {"ok": "[green]ok[/green]", "warn": "[yellow]warn[/yellow]", "fail": "[red]fail[/red]"}


def doctor(
    context: typer.Context,
    home: HomeOption = None,
    strict: Annotated[bool, typer.Option(help="Warnings are failures, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at Python, git, SQLite, disk, GPU, the sandbox, the linters and the experiment's packages."""
    from agent_runner.doctor import examine
    from agent_runner.executors import Sandboxing
    from agent_runner.paths import Home
    from agent_runner.settings import Settings
    from agent_runner.validation import linters

    settings = Settings()
    place = Home((chosen_home(context, home) or settings.home).absolute())
    levels = Sandboxing(place.sandbox if place.root.exists() else None).reports()
    checks = examine(
        settings.python,
        place.root,
        {tool: linters.unavailable(tool) for tool in ("ruff", "ty")},
        levels,
    )
    if as_json:
        print_json(
            {
                "checks": [check.model_dump() for check in checks],
                "sandbox": [report.model_dump() for report in levels],
            }
        )
    else:
        table = Table("", "what", "found", "what to do", box=None)
        for check in checks:
            row = (escape(text) for text in (check.name, check.message, check.remedy))
            table.add_row(_MARKS[check.status], *row)
        data.print(table)
    bad = {"fail", "warn"} if strict else {"fail"}
    raise typer.Exit(Exit.ERROR if any(check.status in bad for check in checks) else Exit.OK)
