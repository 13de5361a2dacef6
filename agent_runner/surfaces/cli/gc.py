"""`agent-runner gc`: free what is no longer referenced, never evidence."""

from __future__ import annotations

from typing import Annotated

import typer

from agent_runner.surfaces.cli.options import HomeOption, JsonOption, open_workspace, reported
from agent_runner.surfaces.cli.output import notes, print_json, print_text


def gc(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Free what is no longer referenced: worktrees, scratch folders, lost objects. Never evidence."""
    from agent_runner.service.collecting import collect

    with reported(as_json):
        collected = collect(open_workspace(context, home), dry_run=dry_run)
        if as_json:
            print_json({**collected.model_dump(mode="json"), "freed_bytes": collected.freed_bytes})
            return
        for item in collected.items:
            verb = "kept" if not item.freed else "would free" if dry_run else "freed"
            print_text(f"{verb:<10} {item.bytes:>12,}  {item.what}: {item.path} ({item.reason})")
        word = "would be freed" if dry_run else "freed"
        notes.print(f"{collected.freed_bytes:,} bytes {word}", markup=False)
