"""`agent-runner verify`: a run again with other seeds, at no cost."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from agent_runner.errors import UsageError
from agent_runner.surfaces.cli.options import (
    HomeOption,
    JsonOption,
    open_runner,
    reported,
    run_number,
)
from agent_runner.surfaces.cli.output import Exit, print_json, print_text, watching

_RECORDS = re.compile(r"(?P<home>.+)/ideas/(?P<idea>[\w-]+)/runs/(?P<run>\d+)")
_CODES = {"moves": Exit.OK, "undecided": Exit.OK, "failed": Exit.RUN_FAILED}


def verify(
    context: typer.Context,
    idea: Annotated[
        str,
        typer.Argument(
            metavar="IDEA[/RUN]", help="For instance my-idea/run_3, or a run's folder of records."
        ),
    ],
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Its number, if not given with the idea.")
    ] = None,
    seed_offset: Annotated[int, typer.Option(min=1, help="Added to every seed.")] = 1,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Were a run's numbers measured? Runs its code again with other seeds: written numbers do not move.

    Exit codes: 0 they move (or nothing could be moved), 3 it does not run to its end, 4 they do not, or in a
    doubtful way.
    """
    with reported(as_json):
        place = _RECORDS.fullmatch(str(Path(idea).absolute())) if run is None else None
        if place is not None:
            idea, home = f"{place['idea']}/{place['run']}", home or Path(place["home"])
        name, _, number = idea.partition("/")
        if bool(number) == bool(run):
            raise UsageError(
                "it takes one run to verify", "For instance: agent-runner verify my-idea/run_3"
            )
        with watching() as watch:
            found = open_runner(context, home).verify(
                name, run_number(run or number), seed_offset=seed_offset, progress=watch
            )
        print_json(found) if as_json else print_text(found.message)
        raise typer.Exit(_CODES.get(found.verdict, Exit.REFUSED))
