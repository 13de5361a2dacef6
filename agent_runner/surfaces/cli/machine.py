"""`agent-runner gpu` and `agent-runner reconcile`: looking after a machine that runs experiments."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from agent_runner.surfaces.cli.options import (
    HomeOption,
    JsonOption,
    open_runner,
    open_workspace,
    reported,
)
from agent_runner.surfaces.cli.output import data, print_json, print_text

gpu_app = typer.Typer(help="GPU and CPU slots: who has them, and who waits.", no_args_is_help=True)


@gpu_app.command("list")
def gpu_list(context: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Every slot, its holder, the queue, and GPUs that are not lent any more."""
    from dataclasses import asdict

    with reported(as_json):
        state = open_workspace(context, home).desk.state()
        if as_json:
            print_json(asdict(state))
            return
        print_text(f"CPU slots: {state.cpu_taken} of {state.cpu_slots} taken")
        table = Table("gpu", "name", "holder", box=None)
        for gpu in state.gpus:
            holders = [held.who for held in state.held if gpu.uuid in held.gpus]
            table.add_row(gpu.label, gpu.name, ", ".join(holders) or "free")
        if state.gpus:
            data.print(table)
        for held in state.held:
            if not held.gpus:
                print_text(f"on a CPU slot: {held.who}")
        for place, waiting in enumerate(state.queue, 1):
            print_text(f"waiting, {place}.: {waiting.who}")
        for item in state.quarantined:
            print_text(f"in quarantine: {item}")


@gpu_app.command("release")
def gpu_release(
    context: typer.Context,
    index: Annotated[str, typer.Argument(help="Its index or UUID, see `gpu list`.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lend a GPU again that was put into quarantine."""
    with reported(as_json):
        desk = open_workspace(context, home).desk
        lifted = desk.lift(int(index) if index.isdigit() else index)
        print_json({"released": str(lifted)}) if as_json else print_text(f"lent again: {lifted}")


def reconcile(context: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Settle what servers that were killed have left behind. Runs that go on are left alone."""
    with reported(as_json):
        found = open_runner(context, home).reconcile()
        if as_json:
            print_json({"ideas": [item.model_dump(mode="json") for item in found]})
            return
        for item in found:
            parts = [f"attempt {number} was settled" for number in item.settled]
            parts += [f"the run of attempt {number} is not over" for number in item.living]
            parts += [item.problem] if item.problem else []
            parts += ["somebody works on it"] if item.busy else []
            print_text(f"{item.idea}: {'; '.join(parts) or 'nothing was left open'}")
