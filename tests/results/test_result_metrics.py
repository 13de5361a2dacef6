from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runner.results import compare, flat_metrics, noise_floor
from agent_runner.results.metrics import MAX_METRICS, without_noise
from agent_runner.results.noise import NOT_MEASURED


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"metrics": {"a": 1, "b": 0.5}, "c": 2}, {"a": 1.0, "b": 0.5}),
        ({"metrics": {"a": {"b": 1}, "note": "x", "on": True}}, {"a.b": 1.0}),
        ({"metrics": "none", "c": 2}, {"c": 2.0}),
        ({"metrics": {}, "c": 2}, {"c": 2.0}),
        ({"set": {"means": {"a": 1, "b": 2.5}, "stderrs": {"a": 9}}}, {"a": 1.0, "b": 2.5}),
        ({"x": {"means": {"a": 1}}, "y": {"means": {"a": 2}}, "z": 3}, {"x/a": 1.0, "y/a": 2.0}),
        ({"a": {"b": {"c": 1}}, "d": None, "e": [1, 2], "f": False, "g": "3"}, {"a.b.c": 1.0}),
        ({"a.b": 1, "a": {"b": 2}}, {"a.b": 1.0}),
        ({}, {}),
        ({"big": 10**400, "nan": math.nan, "inf": math.inf, "ok": 1}, {"ok": 1.0}),
        ({"n" * 201: 1, "ok": 1}, {"ok": 1.0}),
    ],
)
def test_the_rules(info: dict[str, Any], expected: dict[str, float]) -> None:
    assert flat_metrics(info) == expected


def test_the_number_of_metrics_is_bounded() -> None:
    found = flat_metrics({str(i): i for i in range(10_000)})
    assert list(found) == [str(i) for i in range(MAX_METRICS)]


def test_comparison_takes_what_both_have() -> None:
    comparison = compare(
        {"b": 0.5, "new": 1.0, "a": 2.0}, {"a": 1.5, "b": 0.75, "old": 1.0}, "run_0"
    )
    assert comparison.baseline == "run_0"
    assert list(comparison.metrics) == ["b", "a"]
    assert comparison.metrics["b"].model_dump() == {
        "baseline": 0.75,
        "value": 0.5,
        "difference": -0.25,
        "noise": None,
        "noise_units": None,
        "within_noise": None,
    }


def test_a_comparison_says_why_noise_is_not_known_of_what_differs() -> None:
    before, after = {"a": 1.0, "b": 2.0, "still": 3.0}, {"a": 1.5, "b": 2.5, "still": 3.0}
    unmeasured = compare(after, before, "run_0")
    assert unmeasured.noise_problem == NOT_MEASURED
    assert without_noise(unmeasured.metrics) == ["a", "b"]  # what is equal needs no noise
    broken = noise_floor([before], (0,), "the second did not end")
    assert compare(after, before, "run_0", noise=broken).noise_problem == "the second did not end"
    half = noise_floor([before, {"a": 1.1, "still": 3.0}], (0, 1))
    partly = compare(after, before, "run_0", noise=half)
    assert partly.noise_problem == "not every run of unchanged code has these metrics"
    assert without_noise(partly.metrics) == ["b"]


def test_where_nothing_is_unknown_no_problem_is_named() -> None:
    before = {"a": 1.0, "b": 2.0, "reference": 3.0}
    assert compare(before, before, "run_0").noise_problem is None
    half = noise_floor([before, {"a": 1.1, "reference": 3.0}], (0, 1), "the third did not end")
    moved = before | {"a": 1.2, "reference": 3.1}
    compared = compare(moved, before, "run_0", noise=half)
    assert compared.noise_problem is None
    assert compared.metrics["reference"].noise == 0


FINITE = st.dictionaries(
    st.sampled_from("abcdef"), st.floats(allow_nan=False, allow_infinity=False)
)


@settings(deadline=None)
@given(FINITE, FINITE)
def test_every_difference_is_finite_and_exact(
    ours: dict[str, float], theirs: dict[str, float]
) -> None:
    comparison = compare(ours, theirs, "run_0")
    found = comparison.metrics
    assert (comparison.noise_problem is None) == (without_noise(found) == [])
    assert set(found) <= set(ours) & set(theirs)
    for name, metric in found.items():
        assert metric.difference == ours[name] - theirs[name]
        assert math.isfinite(metric.difference)
    dropped = set(ours) & set(theirs) - set(found)
    assert all(math.isinf(ours[name] - theirs[name]) for name in dropped)
