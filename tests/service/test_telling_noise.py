"""What is told of noise: how far unchanged code scatters, and why that is not known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from models_template import write_template

from agent_runner.records import Budget, Noise, Observation, Outcome, RunResult, Verification
from agent_runner.results import compare, noise_floor
from agent_runner.results.noise import NOT_MEASURED, NOTHING_MOVED
from agent_runner.service import Runner, telling

BEFORE = {"a": 1.0, "b": 2.0, "reference": 3.0}
BUDGET = Budget(max_runs=3, used=1, left=2, attempts_left=9, charged=True, reason="it ran")


def run_with(metrics: Mapping[str, float], **fields: Any) -> RunResult:
    return RunResult(
        index=1,
        outcome=Outcome.SUCCEEDED,
        commit="c" * 40,
        tree="t",
        metrics=dict(metrics),
        **fields,
    )


def report(after: Mapping[str, float], noise: Noise | None) -> str:
    compared = compare(after, BEFORE, "run_0", noise=noise)
    return telling.run_report(run_with(after, comparison=compared), (), BUDGET, "")


def about_noise(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("Noise is not known")]


# ---------------------------------------------------------------- a run's report


MOVED = BEFORE | {"a": 1.5, "b": 2.5}


@pytest.mark.parametrize(
    ("noise", "line"),
    [
        (None, f"Noise is not known: {NOT_MEASURED}."),
        (noise_floor([BEFORE] * 3, (0, 1, 2)), f"Noise is not known: {NOTHING_MOVED}."),
        (
            noise_floor([BEFORE], (0,), "the one moved by 1 did not end well\n(exit code 1)."),
            "Noise is not known: the one moved by 1 did not end well (exit code 1).",
        ),
        (
            noise_floor([BEFORE, {"a": 1.1, "reference": 3.0}], (0, 1)),
            "Noise is not known for: b (not every run of unchanged code has these metrics).",
        ),
    ],
    ids=["unmeasured", "still", "failed", "missing"],
)
def test_a_report_says_why_noise_is_not_known(noise: Noise | None, line: str) -> None:
    text = report(MOVED, noise)
    assert about_noise(text) == [line]
    assert ("x noise" in text) == ("for: b" in line)


def test_a_report_says_nothing_where_all_is_known_or_nothing_differs() -> None:
    noise = noise_floor([BEFORE, {"a": 1.1, "reference": 3.0}], (0, 1), "the third did not end")
    assert about_noise(report(BEFORE | {"a": 1.5, "reference": 3.1}, noise)) == []
    assert about_noise(report(BEFORE, None)) == []
    uncompared = telling.run_report(run_with(BEFORE), (), BUDGET, "")
    assert about_noise(uncompared) == []


def test_many_metrics_without_noise_are_named_in_one_line_of_bounded_length() -> None:
    before = {f"metric {n}": float(n) for n in range(100)}
    noise = noise_floor([before | {"a": 1.0}, {"a": 1.1}], (0, 1))
    after = {name: value + 1 for name, value in before.items()} | {"a": 1.2}
    compared = compare(after, before | {"a": 1.0}, "run_0", noise=noise)
    (line,) = about_noise(telling.describe_run(run_with(after, comparison=compared)))
    assert "metric 0, metric 1," in line and "and 92 more" in line
    assert len(line) < 300


def test_a_verification_says_it_too() -> None:
    compared = compare(MOVED, BEFORE, "run_1", noise=noise_floor([BEFORE] * 2, (0, 1)))
    found = Verification(
        idea="i",
        run=1,
        number=1,
        offset=1,
        verdict="moves",
        outcome=Outcome.SUCCEEDED,
        comparison=compared,
        message="",
    )
    assert about_noise(telling.verification(found)) == [f"Noise is not known: {NOTHING_MOVED}."]


# ---------------------------------------------------------------- the baseline's note


def test_a_baseline_whose_metrics_never_moved_does_not_claim_zero_noise() -> None:
    noise = noise_floor([BEFORE] * 4, (0, 1, 2, 3))
    text = telling.baseline_note(run_with(BEFORE, noise=noise))
    assert about_noise(text) == [f"Noise is not known: {NOTHING_MOVED}."]
    assert "standard deviations" not in text


def test_a_baseline_with_some_of_its_repeats_tells_scatter_and_problem() -> None:
    noise = noise_floor([BEFORE, BEFORE | {"a": 1.1}], (0, 1), "the third did not end")
    text = telling.baseline_note(run_with(BEFORE, noise=noise))
    assert "over 2 runs of unchanged code with different seeds: a 0.071." in text
    assert "Not all were measured: the third did not end." in text
    assert about_noise(text) == []


# ---------------------------------------------------------------- measured


def proposed(
    runner: Runner, tmp_path: Path, old: str, new: str, edit: Callable[[str, str], str]
) -> Observation:
    """The report of an edit, in a template whose own code was changed before."""
    template = write_template(tmp_path / "models")
    script = template / "experiment.py"
    text = script.read_text()
    assert text.count(old) == 1
    script.write_text(text.replace(old, new))
    idea = runner.create_idea("Noise", template=template)
    return runner.propose(idea.id, edit("        self.rate = 0.1", "        self.rate = 0.2"))


def test_a_template_that_ignores_the_seeds_has_no_noise(
    runner: Runner, tmp_path: Path, edit: Callable[[str, str], str]
) -> None:
    observation = proposed(runner, tmp_path, "SEED + OFFSET", "SEED", edit)
    assert observation.run is not None and observation.run.comparison is not None
    pair = observation.run.comparison.metrics["accuracy"]
    assert (pair.noise, pair.noise_units, pair.within_noise) == (None, None, None)
    assert about_noise(observation.message) == [f"Noise is not known: {NOTHING_MOVED}."]


def test_the_one_metric_that_moves_is_named_where_a_repeat_lacks_it(
    runner: Runner, tmp_path: Path, edit: Callable[[str, str], str]
) -> None:
    old = '"reference": skill}'
    observation = proposed(
        runner, tmp_path, old, f'{old}\n    if OFFSET == 2: del metrics["accuracy"]', edit
    )
    (line,) = about_noise(observation.message)
    assert line.startswith("Noise is not known: not every run of unchanged code has a usable value")
    assert " of accuracy, and no other metric moved" in line


def test_a_metric_that_one_repeat_lacks_is_named(
    runner: Runner, tmp_path: Path, edit: Callable[[str, str], str]
) -> None:
    old = '"reference": skill}'
    new = '"reference": skill, "loss": 1 - Trainer().rate}\n    if OFFSET == 2: del metrics["loss"]'
    observation = proposed(runner, tmp_path, old, new, edit)
    (line,) = about_noise(observation.message)
    assert line.startswith("Noise is not known for: loss (")
    assert "x noise" in observation.message
