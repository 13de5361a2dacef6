"""`agent-runner play`: the proposals of a variant in order, each as an agent would send it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent_runner.errors import UsageError
from agent_runner.records import Idea, MetricDifference, Observation, Outcome, RunResult
from agent_runner.surfaces.cli.options import HomeOption, JsonOption, open_runner, reported
from agent_runner.surfaces.cli.output import Exit, notes, print_json, print_text, watching
from agent_runner.variants import Variant, find_variant, load_variant

if TYPE_CHECKING:
    from agent_runner.service import Runner

# What the columns of the table are called, and the metric of the SAE template that each shows
COLUMNS = {
    "sae_top_1": "sae_top_1_test_accuracy",
    "sae_top_5": "sae_top_5_test_accuracy",
    "sae_test": "sae_test_accuracy",
    "l0": "l0",
    "explained_variance": "explained_variance",
    "final_loss": "final_loss",
}
_OTHER_COLUMNS = 6  # of a template that has none of these metrics
_LEGEND = (
    "sd: standard deviation of unchanged code over seeds. In brackets: difference from the baseline "
    "in units of its noise; ~ within noise."
)


def play(
    context: typer.Context,
    variant: Annotated[
        str, typer.Argument(metavar="VARIANT", help="A variant's folder, or a shipped one's name.")
    ],
    template: Annotated[str, typer.Option(help="A template folder, or `default`.")] = "default",
    resume: Annotated[
        str | None,
        typer.Option(metavar="IDEA", help="Go on with an idea that an earlier `play` has started."),
    ] = None,
    most: Annotated[
        int | None, typer.Option("--max", min=1, help="Send only so many of the proposals.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Carry out a variant's plan: baseline, then every proposal, then all results beside each other.

    Ends with 0 if every proposal led to a run that succeeded, else with 3. A refused one keeps no other back.
    """
    with reported(as_json):
        played = load_variant(find_variant(variant))
        runner = open_runner(context, home)
        idea = _resumed(runner, resume, played) if resume else _begun(runner, played, template)
        going_on = f"If this is interrupted, go on with: --resume {idea.id}"
        notes.print(f"Idea {idea.id}. {going_on}", markup=False)
        with watching() as watch:
            baseline = runner.baseline(idea.id, progress=watch)
        _say(as_json, _line("baseline", baseline, ""))
        observations: list[Observation] = []
        for number, reply in enumerate(played.proposals[:most], start=1):
            with watching() as watch:
                # The key makes a resumed play get the stored answer to what was sent before.
                key = f"play/{played.name}/{number}"
                observation = runner.propose(idea.id, reply, idempotency_key=key, progress=watch)
            observations.append(observation)
            _say(as_json, _line(f"proposal {number}", observation, played.purpose(number)))
        table = table_of(played, baseline, observations)
        if as_json:
            print_json(_document(idea, played, baseline, observations, table))
        else:
            print_text("\n" + table_text(table))
        if not all(_succeeded(observation) for observation in observations):
            raise typer.Exit(Exit.RUN_FAILED)


def table_of(
    variant: Variant, baseline: Observation, observations: Sequence[Observation]
) -> list[dict[str, Any]]:
    """One row for the baseline and one for each proposal: run, purpose, outcome, seconds and chosen metrics.

    A metric is `{value, std}` in the first row (`std` None where no noise was measured) and
    `{value, difference, noise_units, within_noise}` in the others.
    """
    columns = _columns([baseline, *observations])
    rows = [_baseline_row(baseline, columns)]
    for number, observation in enumerate(observations, start=1):
        run = observation.run if observation.accepted else None
        row = {
            "run": f"run_{run.index}" if run else None,
            "proposal": number,
            "purpose": variant.purpose(number),
            "outcome": _outcome(observation),
            "seconds": run.seconds if run else None,
            "metrics": {label: _beside(run, name) for label, name in columns.items()},
        }
        rows.append(row)
    return rows


def table_text(rows: Sequence[dict[str, Any]]) -> str:
    """The rows in aligned columns, what each run is for in the last one."""
    labels = list(rows[0]["metrics"])
    cells = [["run", "outcome", "seconds", *labels, "what it is"]]
    for row in rows:
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.1f}"
        figures = [_cell(row["metrics"][label]) for label in labels]
        name = row["run"] or f"(proposal {row['proposal']})"
        cells.append([name, row["outcome"], seconds, *figures, row["purpose"]])
    widths = [max(len(line[at]) for line in cells) for at in range(len(cells[0]))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    return "\n".join([*lines, "", _LEGEND])


# ---------------------------------------------------------------- the idea


def _begun(runner: Runner, variant: Variant, template: str) -> Idea:
    """A new idea; if one of this variant was left unfinished, that is said."""
    for view in runner.ideas():
        if view.idea.title == variant.title and len(view.attempts) < len(variant.proposals):
            going_on = f"To go on with it: --resume {view.idea.id}"
            notes.print(f"Unfinished: {view.idea.id}. {going_on}", markup=False)
    return runner.create_idea(
        variant.title,
        template=template,
        plan=variant.text,
        max_runs=max(10, len(variant.proposals)),
        models=variant.models,
    )


def _resumed(runner: Runner, idea_id: str, variant: Variant) -> Idea:
    idea = runner.idea(idea_id)
    if idea.title != variant.title:
        raise UsageError(
            f"idea {idea.id!r} is not of this variant: its title is {idea.title!r}",
            "Name the variant that it was started with, or leave out --resume.",
        )
    return idea


# ---------------------------------------------------------------- what is said


def _document(
    idea: Idea,
    variant: Variant,
    baseline: Observation,
    observations: Sequence[Observation],
    table: list[dict[str, Any]],
) -> dict[str, Any]:
    """The conversation is left out: `agent-runner messages` has it."""
    listed = [o.model_dump(mode="json", exclude={"messages"}) for o in (baseline, *observations)]
    return {
        "idea": idea.id,
        "variant": variant.name,
        "baseline": listed[0],
        "observations": listed[1:],
        "table": table,
    }


def _say(as_json: bool, line: str) -> None:
    """Outcomes as they come: on stderr where stdout is for one JSON document."""
    if as_json:
        notes.print(line, markup=False)
    else:
        print_text(line)


def _line(label: str, observation: Observation, purpose: str) -> str:
    run = observation.run if observation.accepted else None
    ended = f"{label}: {_outcome(observation)}"
    ended += f" after {run.seconds:.1f} s" if run and run.seconds else ""
    if run is None or run.outcome is not Outcome.SUCCEEDED:
        failure = run.failure.message if run and run.failure else observation.budget.reason
        ended += f": {failure.strip().splitlines()[0] if failure.strip() else 'no reason given'}"
    return f"{ended} ({purpose})" if purpose else ended


def _outcome(observation: Observation) -> str:
    if observation.accepted and observation.run is not None:
        return str(observation.run.outcome)
    return f"refused ({observation.stage})"


def _succeeded(observation: Observation) -> bool:
    run = observation.run if observation.accepted else None
    return run is not None and run.outcome is Outcome.SUCCEEDED


# ---------------------------------------------------------------- metrics


def _columns(observations: Sequence[Observation]) -> dict[str, str]:
    """Label and metric of each column: the chosen ones, or the first few where a template has none of these."""
    found = [name for o in observations if o.run is not None for name in o.run.metrics]
    chosen = {label: name for label, name in COLUMNS.items() if name in found}
    return chosen or {name: name for name in list(dict.fromkeys(found))[:_OTHER_COLUMNS]}


def _baseline_row(baseline: Observation, columns: dict[str, str]) -> dict[str, Any]:
    run = baseline.run
    measured = run.noise.metrics if run and run.noise else {}
    metrics: dict[str, dict[str, float | None] | None] = {}
    for label, name in columns.items():
        value = run.metrics.get(name) if run else None
        std = measured[name].std if name in measured else None
        metrics[label] = None if value is None else {"value": value, "std": std}
    return {
        "run": "baseline",
        "proposal": None,
        "purpose": "the template as it is",
        "outcome": _outcome(baseline),
        "seconds": run.seconds if run else None,
        "metrics": metrics,
    }


def _beside(run: RunResult | None, name: str) -> dict[str, float | bool | None] | None:
    """One metric of a run and how it differs from the baseline's; None where the run has none."""
    if run is None or name not in run.metrics:
        return None
    pair: MetricDifference | None = run.comparison.metrics.get(name) if run.comparison else None
    return {
        "value": run.metrics[name],
        "difference": pair.difference if pair else None,
        "noise_units": pair.noise_units if pair else None,
        "within_noise": pair.within_noise if pair else None,
    }


def _cell(metric: dict[str, Any] | None) -> str:
    """`0.7112 sd 0.0041` for the baseline, `0.7205 (+1.6)` or `0.7120 (+0.1 ~)` for a run."""
    if metric is None:
        return "-"
    text = f"{metric['value']:.4g}"
    if "std" in metric:
        return text if metric["std"] is None else f"{text} sd {metric['std']:.2g}"
    if metric["noise_units"] is not None:
        return f"{text} ({metric['noise_units']:+.1f}{' ~' if metric['within_noise'] else ''})"
    if metric["difference"] is not None:  # no noise was measured, or it is zero
        mark = " ~" if metric["within_noise"] else ""
        return f"{text} ({metric['difference']:+.3g} as such{mark})"
    return text
