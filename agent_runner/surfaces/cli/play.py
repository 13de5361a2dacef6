"""`agent-runner play`: the proposals of a variant in order, each as an agent would send it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent_runner.errors import UsageError
from agent_runner.records import Idea, MetricDifference, Observation, Outcome, RunResult
from agent_runner.results.noise import known_scatter
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
_OWN_BASELINE = "run_0"  # what a comparison calls the baseline that `play` begins with


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
    """One row for each baseline and one for each proposal: run, purpose, outcome, seconds and chosen metrics.

    `compared_with` names the baseline of a run: `run_0` is the first row, any other one has a row of its own
    above the first run that it belongs to; None where a run was compared with nothing. A metric is
    `{value, std}` in a baseline's row (`std` None where noise is not known) and
    `{value, difference, noise_units, within_noise}` in the others.
    """
    columns = _columns([baseline, *observations])
    rows = [_baseline_row(baseline, columns)]
    runs = [observation.run if observation.accepted else None for observation in observations]
    shown = {_OWN_BASELINE}
    for number, (observation, run) in enumerate(zip(observations, runs, strict=True), start=1):
        compared = run.comparison.baseline if run and run.comparison else None
        if compared is not None and compared not in shown:
            rows.append(_other_baseline_row(compared, filter(None, runs), columns))
            shown.add(compared)
        row = {
            "run": f"run_{run.index}" if run else None,
            "proposal": number,
            "purpose": variant.purpose(number),
            "outcome": _outcome(observation),
            "seconds": run.seconds if run else None,
            "compared_with": compared,
            "metrics": {label: _beside(run, name) for label, name in columns.items()},
        }
        rows.append(row)
    return rows


def table_text(rows: Sequence[dict[str, Any]]) -> str:
    """The rows in aligned columns, what each run is for in the last one.

    What a run was compared with has a column where that is not the first row for all of them.
    """
    labels = list(rows[0]["metrics"])
    several = any(row["compared_with"] not in (None, _OWN_BASELINE) for row in rows)
    heading = ["compared with"] if several else []
    cells = [["run", "outcome", "seconds", *heading, *labels, "what it is"]]
    for row in rows:
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.1f}"
        beside = [_row_name(row["compared_with"])] if several else []
        figures = [_cell(row["metrics"][label]) for label in labels]
        name = row["run"] or f"(proposal {row['proposal']})"
        cells.append([name, row["outcome"] or "", seconds, *beside, *figures, row["purpose"]])
    widths = [max(len(line[at]) for line in cells) for at in range(len(cells[0]))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    return "\n".join([*lines, "", _legend(labels, several)])


def _legend(labels: Sequence[str], several: bool) -> str:
    """What the cells mean, in one paragraph."""
    which = "the baseline that it was compared with" if several else "the baseline"
    legend = (
        f"sd: standard deviation of unchanged code over seeds. In brackets: difference of a run from {which}, "
        "in units of noise (sqrt(2) sd); ~ within noise; `as such` where noise is zero or not known."
    )
    if "final_loss" in labels:
        legend += " final_loss compares only runs of the same objective."
    return legend


def _row_name(compared_with: str | None) -> str:
    return "baseline" if compared_with == _OWN_BASELINE else compared_with or ""


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
    measured = known_scatter(run.noise if run else None)
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
        "compared_with": None,
        "metrics": metrics,
    }


def _other_baseline_row(
    name: str, runs: Iterable[RunResult], columns: dict[str, str]
) -> dict[str, Any]:
    """A baseline that is not the idea's own, as the comparisons with it show it: they have no more of it."""
    comparisons = [run.comparison for run in runs if run.comparison]
    compared = [comparison.metrics for comparison in comparisons if comparison.baseline == name]
    metrics = {
        label: _of_baseline([pairs[metric] for pairs in compared if metric in pairs])
        for label, metric in columns.items()
    }
    return {
        "run": name,
        "proposal": None,
        "purpose": "the template as it is, for runs of another kind",
        "outcome": None,
        "seconds": None,
        "compared_with": None,
        "metrics": metrics,
    }


def _of_baseline(pairs: Sequence[MetricDifference]) -> dict[str, float | None] | None:
    """One metric of a baseline from what runs were compared with; None where none of them has the metric."""
    if not pairs:
        return None
    noise = next((pair.noise for pair in pairs if pair.noise is not None), None)
    return {
        "value": pairs[0].baseline,
        "std": None if noise is None else noise / math.sqrt(2),
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
    if metric["difference"] is not None:  # noise is not known, or zero
        mark = " ~" if metric["within_noise"] else ""
        return f"{text} ({metric['difference']:+.3g} as such{mark})"
    return text
