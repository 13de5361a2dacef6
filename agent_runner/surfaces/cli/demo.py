"""`agent-runner demo`: a scripted agent on the embedded default, every step real."""

from __future__ import annotations

import time
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer
from rich.rule import Rule

from agent_runner.records import Observation
from agent_runner.surfaces.cli.options import (
    HomeOption,
    JsonOption,
    chosen_home,
    open_runner,
    reported,
)
from agent_runner.surfaces.cli.output import (
    Exit,
    data,
    exit_code,
    notes,
    print_json,
    print_text,
    watching,
)

TITLE = "Usage-weighted sparsity penalty"
PLAN = """\
The L1 penalty presses on every feature alike. Weight it by how often a feature fires (a running mean),
so that features which are always on pay more and rare ones less.

Planned: run 1, weights from a running mean with rate 0.01; run 2, without the weights (control)."""

# file, what it shows, and how it has to end
SCRIPT = (
    (
        "1-misquoted.md",
        "An edit that misquotes the file is refused",
        Exit.REFUSED,
    ),
    ("2-wrong-object.md", "A fault is found before the run, at no cost", Exit.REFUSED),
    ("3-mended.md", "The mended edit runs, beside the baseline", Exit.OK),
    ("4-back-again.md", "Code that was already run is not run again", Exit.REFUSED),
)


def demo(
    context: typer.Context,
    template: Annotated[str, typer.Option(help="A template folder, or `default`.")] = "default",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Play a short scripted session: a refusal, a fault found early, a run, and the history."""
    began = time.monotonic()
    with reported(as_json):
        chosen = chosen_home(context, home) or Path("runs/demo")
        runner = open_runner(context, chosen)
        # The shipped model, also where a better one could be had: it needs no download, and minutes only.
        shipped = ("embedded",) if template == "default" else ()
        idea = runner.create_idea(TITLE, template=template, plan=PLAN, models=shipped)
        _title(as_json, f"Idea {idea.id}: the baseline first (costs nothing)")
        with watching() as watch:
            baseline = runner.baseline(idea.id, progress=watch)
        _say(as_json, baseline)
        observations: list[Observation] = []
        as_scripted = exit_code(baseline) is Exit.OK
        for name, words, expected in SCRIPT:
            _title(as_json, f"Proposal {len(observations) + 1}. {words}")
            reply = (files(__package__) / "demo_proposals" / name).read_text(encoding="utf-8")
            if not as_json:
                data.print(reply, markup=False, style="dim")
            with watching() as watch:
                observation = runner.propose(idea.id, reply, progress=watch)
            observations.append(observation)
            as_scripted &= exit_code(observation) is expected
            _say(as_json, observation)
        history = runner.messages(idea.id)["messages"]
    if as_json:
        listed = [observation.model_dump(mode="json") for observation in observations]
        print_json(
            {"idea": idea.id, "baseline": baseline.model_dump(mode="json"), "observations": listed}
        )
    else:
        _title(False, "The conversation, as a model's API takes it")
        for message in history:
            first = str(message["content"]).strip().splitlines()[0]
            print_text(
                f"{message['role']:<9}  {len(message['content']):>6} characters  {first[:70]}"
            )
        _title(False, "Where everything is")
        print_text(f"diff of run_1:  {observations[2].links['diff']}")
        print_text(f"logs of run_1:  {observations[2].links['logs']}")
        print_text(f"the files:      {observations[2].links['worktree']}")
        where = f"--home {chosen}"
        print_text(f"more:           agent-runner {where} show {idea.id}")
        print_text(f"                agent-runner {where} diff {idea.id} 1")
        notes.print(f"demo took {time.monotonic() - began:.0f} s", markup=False)
    if not as_scripted:
        notes.print("[red]A step did not end as scripted.[/red] See `agent-runner doctor`.")
        raise typer.Exit(Exit.ERROR)


def _title(as_json: bool, text: str) -> None:
    if as_json:
        notes.print(text, markup=False)
    else:
        data.print()
        data.print(Rule(text, align="left"))


def _say(as_json: bool, observation: Observation) -> None:
    if not as_json:
        print_text(observation.message)
