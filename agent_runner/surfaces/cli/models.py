"""`agent-runner models`: which models and data sets can be used on this machine, and what is in the way."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from agent_runner.surfaces.cli.options import HomeOption, JsonOption, open_workspace, reported
from agent_runner.surfaces.cli.output import data, print_json, print_text

_STYLES = {"ready": "green", "downloadable": "cyan"}


def models(
    context: typer.Context,
    template: Annotated[str, typer.Option(help="A template folder, or `default`.")] = "default",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Each model and hub data set of a template: can it be used here, and what can be done where not."""
    from pathlib import Path

    from agent_runner.models import assess, template_assets
    from agent_runner.templates import default_folder, load_template

    with reported(as_json):
        folder = default_folder() if template == "default" else Path(template)
        loaded = load_template(folder)
        workspace = open_workspace(context, home)
        found = assess(
            template_assets(loaded.models),
            loaded.models,
            folder,
            workspace.machine(loaded),
            workspace.home.hub,
        )
        if as_json:
            print_json({"access": [access.model_dump(mode="json") for access in found]})
            return
        if not found:
            print_text(f"Template {loaded.name} names no model and no data set.")
            return
        table = Table("", "name", "why", "what to do", box=None)
        for access in found:
            style = _STYLES.get(access.status, "yellow")
            status = f"[{style}]{access.status}[/{style}]"
            name = f"{access.kind} {access.name}"
            table.add_row(status, *(escape(text) for text in (name, access.reason, access.remedy)))
        data.print(table)
