from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runner.records import MetricNoise, Noise
from agent_runner.results import compare, noise_floor
from agent_runner.results.noise import (
    NOT_MEASURED,
    NOTHING_MOVED,
    known_scatter,
    student_quantile,
    why_not_known,
)


def test_quantiles_are_student_s() -> None:
    stats = pytest.importorskip("scipy.stats")
    for degrees in (*range(1, 101), 500, 5000):
        assert student_quantile(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-12)


def test_quantiles_are_those_of_printed_tables() -> None:
    table = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 30: 2.042, 120: 1.980}
    for degrees, quantile in table.items():
        assert round(student_quantile(degrees), 3) == quantile
    with pytest.raises(ValueError, match="0 degrees"):
        student_quantile(0)


def test_a_floor_is_of_what_all_repeats_have() -> None:
    repeats = [{"a": 1.0, "b": 2.0, "ref": 0.1}, {"a": 3.0, "ref": 0.1}, {"ref": 0.1, "a": 8.0}]
    noise = noise_floor(repeats, (0, 1, 2), "the fourth did not end")
    assert (noise.seeds, noise.problem) == ((0, 1, 2), "the fourth did not end")
    assert list(noise.metrics) == ["a", "ref"]
    assert noise.metrics["a"].values == (1.0, 3.0, 8.0)
    assert noise.metrics["a"].mean == 4.0
    assert noise.metrics["a"].std == math.sqrt((9 + 1 + 16) / 2)
    assert noise.metrics["ref"].std == 0  # exactly, though 0.1 is no exact number


def test_one_run_has_no_scatter() -> None:
    assert noise_floor([{"a": 1.0}], (0,)).metrics == {}
    assert noise_floor([], ()).metrics == {}
    with pytest.raises(ValueError, match="2 repeats, but 1 seeds"):
        noise_floor([{}, {}], (0,))


def test_the_rule() -> None:
    """Four seeds: two runs differ in earnest from 3.182 * sqrt(2) standard deviations on."""
    noise = noise_floor([{"a": value} for value in (0.0, 1.0, -1.0, 0.0)], (0, 1, 2, 3))
    std = math.sqrt(2 / 3)
    bound = student_quantile(3) * math.sqrt(2) * std
    for difference, within in ((bound * 0.999, True), (bound * 1.001, False), (0.0, True)):
        pair = compare({"a": 5 + difference}, {"a": 5.0}, "run_0", noise=noise).metrics["a"]
        assert pair.noise == math.sqrt(2) * std
        assert pair.noise_units == pytest.approx(pair.difference / (math.sqrt(2) * std))
        assert pair.within_noise is within


def test_a_metric_that_never_moves_has_no_units() -> None:
    noise = noise_floor([{"a": 0.1, "b": value} for value in (1.0, 2.0, 3.0)], (0, 1, 2))
    assert noise.problem is None and why_not_known(noise) is None
    same = compare({"a": 0.1}, {"a": 0.1}, "run_0", noise=noise).metrics["a"]
    assert (same.noise, same.noise_units, same.within_noise) == (0, None, True)
    other = compare({"a": 0.1 + 1e-12}, {"a": 0.1}, "run_0", noise=noise).metrics["a"]
    assert (other.noise, other.noise_units, other.within_noise) == (0, None, False)


def test_where_no_metric_moves_noise_is_not_known() -> None:
    noise = noise_floor([{"a": 0.1, "b": 3.0}] * 4, (0, 1, 2, 3))
    assert noise.problem == NOTHING_MOVED == why_not_known(noise)
    assert noise.metrics["a"].values == (0.1,) * 4  # what was seen stays on record
    assert known_scatter(noise) == {}
    compared = compare({"a": 0.2, "b": 3.0}, {"a": 0.1, "b": 3.0}, "run_0", noise=noise)
    for pair in compared.metrics.values():
        assert (pair.noise, pair.noise_units, pair.within_noise) == (None, None, None)
    assert compared.noise_problem == NOTHING_MOVED


def test_a_record_of_zeros_that_names_no_problem_is_not_believed_either() -> None:
    flat = MetricNoise(values=(0.1, 0.1), mean=0.1, std=0.0)
    noise = Noise(seeds=(0, 1), metrics={"a": flat})
    compared = compare({"a": 0.2}, {"a": 0.1}, "run_0", noise=noise)
    assert compared.metrics["a"].within_noise is None
    assert compared.noise_problem == NOTHING_MOVED


def test_what_moved_in_some_runs_only_is_not_called_unmoved() -> None:
    repeats = [{"a": 1.0, "reference": 3.0}, {"a": 1.1, "reference": 3.0}, {"reference": 3.0}]
    noise = noise_floor(repeats, (0, 1, 2))
    assert noise.problem is not None
    assert noise.problem.startswith("not every run of unchanged code has a usable value of a, ")
    compared = compare({"a": 1.2, "reference": 3.1}, repeats[0], "run_0", noise=noise)
    assert compared.metrics["reference"].noise is None, "whether the seeds move it is not known"
    still = [{"a": 1.0, "b": 2.0}, {"a": 1.0, "b": 2.0}, {"a": 1.0}]
    assert noise_floor(still, (0, 1, 2)).problem == NOTHING_MOVED
    vast = [{"a": 1.7e308}, {"a": -1.7e308}]
    assert "usable value of a" in (noise_floor(vast, (0, 1)).problem or NOTHING_MOVED)


def test_every_reason_for_unknown_noise_is_kept() -> None:
    still = noise_floor([{"a": 0.1}] * 2, (0, 1), "the third did not end")
    assert still.problem == f"{NOTHING_MOVED}; the third did not end"
    apart = noise_floor([{"a": 0.1}, {"b": 0.1}], (0, 1))
    assert apart.problem is not None and "usable value of a, b, and no" in apart.problem
    assert why_not_known(apart) == apart.problem
    assert why_not_known(noise_floor([{"a": 0.1}], (0,), "none ended")) == "none ended"
    assert why_not_known(noise_floor([{"a": 0.1}], (0,))) == NOT_MEASURED == why_not_known(None)


def test_without_a_floor_nothing_is_said() -> None:
    for noise in (None, noise_floor([{"a": 1.0}], (0,)), noise_floor([{"b": 1.0}] * 2, (0, 1))):
        pair = compare({"a": 2.0}, {"a": 1.0}, "run_0", noise=noise).metrics["a"]
        assert (pair.noise, pair.noise_units, pair.within_noise) == (None, None, None)


def _false_alarms(seeds: int, trials: int) -> float:
    """How often a run of unchanged code is called different from a baseline that is one of the repeats."""
    draw = random.Random(7).gauss
    outside = 0
    for _ in range(trials):
        noise = noise_floor([{"a": draw(0, 1)} for _ in range(seeds)], range(seeds))
        baseline = {"a": noise.metrics["a"].values[0]}
        pair = compare({"a": draw(0, 1)}, baseline, "run_0", noise=noise).metrics["a"]
        outside += not pair.within_noise
    return outside / trials


@pytest.mark.parametrize(("seeds", "rate"), [(2, 0.043), (4, 0.033)])
def test_unchanged_code_is_seldom_called_different(seeds: int, rate: float) -> None:
    trials = 4000
    error = math.sqrt(rate * (1 - rate) / trials)
    assert _false_alarms(seeds, trials) == pytest.approx(rate, abs=4 * error)


VALUES = st.floats(allow_nan=False, allow_infinity=False)
METRICS = st.dictionaries(st.sampled_from("abcd"), VALUES)
REPEATS = st.lists(METRICS, max_size=5)


@settings(deadline=None)
@given(METRICS, METRICS, REPEATS)
def test_comparison_is_antisymmetric(
    ours: dict[str, float], theirs: dict[str, float], repeats: list[dict[str, float]]
) -> None:
    noise = noise_floor(repeats, range(len(repeats)))
    there = compare(ours, theirs, "run_0", noise=noise, fingerprint="f")
    back = compare(theirs, ours, "run_0", noise=noise, fingerprint="f")
    assert there.fingerprint == "f"
    assert there.noise_problem == back.noise_problem
    assert set(there.metrics) == set(back.metrics)
    for name, pair in there.metrics.items():
        other = back.metrics[name]
        assert pair.difference == -other.difference
        assert (pair.noise, pair.within_noise) == (other.noise, other.within_noise)
        if all(metric.std == 0 for metric in noise.metrics.values()):
            assert pair.noise is None
        if pair.noise_units is None:
            assert other.noise_units is None
        else:
            assert other.noise_units == -pair.noise_units
            assert math.isfinite(pair.noise_units)


@settings(deadline=None)
@given(REPEATS)
def test_every_floor_is_finite_and_within_its_values(repeats: list[dict[str, float]]) -> None:
    noise = noise_floor(repeats, range(len(repeats)))
    for name, found in noise.metrics.items():
        assert found.values == tuple(metrics[name] for metrics in repeats)
        assert min(found.values) <= found.mean <= max(found.values)
        assert math.isfinite(found.std) and found.std >= 0
        assert (found.std == 0) == (len(set(found.values)) == 1) or found.std < 1e-150
