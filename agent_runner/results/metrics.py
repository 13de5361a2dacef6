"""Flat metrics of a result, and a run's beside its baseline's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from agent_runner.records import Comparison, MetricDifference, MetricNoise, Noise
from agent_runner.results.noise import (
    critical_ratio,
    difference_std,
    known_scatter,
    why_not_known,
)

MAX_METRICS = 500
MAX_NAME = 200


def flat_metrics(info: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a result file by name, at most 500, in the order of the file.

    1. A top-level `metrics` object says itself what counts.
    2. AI-Scientist's form `{dataset: {"means": {metric: number}}}`: `dataset/metric`, or just
       `metric` where there is one dataset.
    3. Otherwise every number of the file, named by its path (`sae.accuracy`). Lists are series (curves,
       samples), not metrics, and are left out.

    A boolean is not a number here.
    """
    declared = info.get("metrics")
    if isinstance(declared, dict) and (metrics := _bounded(_leaves(declared, ""))):
        return metrics
    means = {
        name: group["means"]
        for name, group in info.items()
        if isinstance(group, dict) and isinstance(group.get("means"), dict)
    }
    if means:
        single = len(means) == 1
        named = (_leaves(found, "" if single else f"{name}/") for name, found in means.items())
        return _bounded(item for group in named for item in group)
    return _bounded(_leaves(info, ""))


def _leaves(group: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for key, value in group.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        elif (number := as_number(value)) is not None:
            yield f"{prefix}{key}", number


def _bounded(items: Iterator[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, number in items:
        if len(found) == MAX_METRICS:
            break
        if len(name) <= MAX_NAME:
            found.setdefault(name, number)
    return found


def as_number(value: Any) -> float | None:
    """A JSON value as a finite float; None if it is not a number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def compare(
    metrics: Mapping[str, float],
    baseline_metrics: Mapping[str, float],
    baseline_id: str,
    *,
    noise: Noise | None = None,
    fingerprint: str | None = None,
) -> Comparison:
    """Every metric that both have, beside each other, and in units of noise where that is known.

    Use it only within one fingerprint. The rule for `within_noise`, and when noise counts as known, stand in
    `agent_runner.results.noise`.
    """
    known = known_scatter(noise)
    pairs = {
        name: _difference(baseline_metrics[name], value, known.get(name))
        for name, value in metrics.items()
        if name in baseline_metrics and math.isfinite(value - baseline_metrics[name])
    }
    return Comparison(
        baseline=baseline_id,
        fingerprint=fingerprint,
        metrics=pairs,
        noise_problem=_noise_problem(pairs, noise),
    )


def without_noise(pairs: Mapping[str, MetricDifference]) -> list[str]:
    """The metrics that differ, and for which nobody knows by how much unchanged code would."""
    return [name for name, pair in pairs.items() if pair.difference and pair.noise is None]


def _noise_problem(pairs: Mapping[str, MetricDifference], noise: Noise | None) -> str | None:
    if not without_noise(pairs):
        return None
    return why_not_known(noise) or "not every run of unchanged code has these metrics"


def _difference(before: float, value: float, noise: MetricNoise | None) -> MetricDifference:
    difference = value - before
    plain = MetricDifference(baseline=before, value=value, difference=difference)
    std = difference_std(noise)
    if noise is None or std is None:
        return plain
    units = difference / std if std > 0 else math.inf
    return plain.model_copy(
        update={
            "noise": std,
            "noise_units": units if math.isfinite(units) else None,
            "within_noise": abs(difference) <= critical_ratio(noise) * std,
        }
    )
