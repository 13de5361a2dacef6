"""How far metrics scatter when nothing but the seeds moves, and when a difference is more than that.

Unchanged code is run under n seeds; s is the sample standard deviation of a metric over these runs. Two such
runs differ with standard deviation sqrt(2) s. A difference d counts as within the noise where

    |d| <= t(0.975, n - 1) * sqrt(2) * s

with Student's t since s is itself an estimate: the two-sided 5 % test for the difference of two single runs
(Student 1908, "The probable error of a mean", Biometrika 6(1)). What few seeds mean:

- With n = 4 the bound is 4.5 s, with n = 2 it is 18 s: only large effects are told from noise, and
  `within_noise` does not mean that there is no effect. With n = 4 the true deviation lies between 0.57 and
  3.7 times s (95 %).
- The test takes the baseline to be none of the n runs, but it is one of them. So it is a little stricter
  than it says: unchanged code is called different in 4.3 % of cases (n = 2), 3.3 % (n = 4), 3.2 % (n = 5, the
  least) and nearer to 5 % with many seeds (by simulation; see the tests).
- It holds for one metric. Of twenty metrics one is expected outside by chance.
- It takes normal scatter, and the edited code to scatter as the unchanged does.

A metric that stays the same under all seeds has noise zero (a reference that is no part of the experiment). If
none moves at all, then most likely the seeds did not reach the code: this shows no absence of noise, and
nothing counts as known (`known_scatter`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from agent_runner.records import MetricNoise, Noise
from agent_runner.results.findings import listed

CONFIDENCE = (
    0.95  # central probability: of 100 differences of unchanged code about 5 are called larger
)


NOTHING_MOVED = (
    "no metric moved with the seeds: the template does not follow AGENT_RUNNER_SEED_OFFSET, or computes "
    "nothing at random"
)
NOT_MEASURED = "how far unchanged code scatters was not measured"


def noise_floor(
    repeats: Sequence[Mapping[str, float]], seeds: Sequence[int], problem: str | None = None
) -> Noise:
    """The scatter of every metric that all repeats of unchanged code have, in the order of the first.

    Args:
        repeats: the metrics of each run, the first being the baseline's own.
        seeds: what was added to the seeds of each of these runs, 0 for the baseline.
        problem: why there are fewer repeats than were asked for.

    With fewer than two repeats there is no scatter, and no metric in the answer. Where no metric moved, the
    answer has them all the same, and its problem says so.

    Raises:
        ValueError: not as many seeds as repeats.
    """
    if len(repeats) != len(seeds):
        raise ValueError(f"{len(repeats)} repeats, but {len(seeds)} seeds")
    found: dict[str, MetricNoise] = {}
    if len(repeats) > 1:
        for name in repeats[0]:
            values = tuple(metrics[name] for metrics in repeats if name in metrics)
            if len(values) == len(repeats) and (scatter := _scatter(values)) is not None:
                found[name] = scatter
    noise = Noise(seeds=tuple(seeds), metrics=found, problem=problem)
    if len(repeats) < 2 or known_scatter(noise):
        return noise
    problems = (_why_nothing_moved(repeats, found), problem)
    return noise.model_copy(update={"problem": "; ".join(filter(None, problems))})


def _why_nothing_moved(
    repeats: Sequence[Mapping[str, float]], found: Mapping[str, MetricNoise]
) -> str:
    """Metrics that only some runs have may well have moved: then the seeds did reach the code."""
    names = dict.fromkeys(name for metrics in repeats for name in metrics if name not in found)
    seen = {name: [metrics[name] for metrics in repeats if name in metrics] for name in names}
    unclear = [name for name, values in seen.items() if len(values) == 1 or len(set(values)) > 1]
    if not unclear:
        return NOTHING_MOVED
    return (
        f"not every run of unchanged code has a usable value of {listed(unclear)}, and no other metric moved "
        "with the seeds"
    )


def known_scatter(noise: Noise | None) -> Mapping[str, MetricNoise]:
    """The scatter of each metric, zero for one that the seeds do not move; of none where they move none."""
    if noise is None or not any(found.std > 0 for found in noise.metrics.values()):
        return {}
    return noise.metrics


def why_not_known(noise: Noise | None) -> str | None:
    """Why noise is known for no metric at all; None where it is known for some."""
    if known_scatter(noise):
        return None
    if noise is None:
        return NOT_MEASURED
    return noise.problem or (NOTHING_MOVED if noise.metrics else NOT_MEASURED)


def _scatter(values: tuple[float, ...]) -> MetricNoise | None:
    """None where it is no finite number. `statistics` is exact: equal values have a deviation of zero."""
    try:
        mean, std = float(statistics.mean(values)), statistics.stdev(values)
    except (OverflowError, ValueError):
        return None
    finite = all(map(math.isfinite, (*values, mean, std)))
    return MetricNoise(values=values, mean=mean, std=std) if finite else None


def difference_std(noise: MetricNoise | None) -> float | None:
    """Standard deviation of the difference of two runs; None where it was not measured on at least two."""
    if noise is None or len(noise.values) < 2 or not 0 <= noise.std < math.inf:
        return None
    std = math.sqrt(2) * noise.std
    return std if math.isfinite(std) else None


def critical_ratio(noise: MetricNoise) -> float:
    """How many times `difference_std` the difference of two runs of unchanged code may be."""
    return student_quantile(len(noise.values) - 1)


@lru_cache(maxsize=256)
def student_quantile(degrees: int) -> float:
    """The t with P(|T| <= t) = 0.95 for Student's T, that is its quantile at 0.975.

    Found by bisection of the exact probability, which grows with the angle theta = atan(t / sqrt(degrees)).

    Raises:
        ValueError: less than one degree of freedom.
    """
    if degrees < 1:
        raise ValueError(f"Student's distribution has no {degrees} degrees of freedom")
    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:
        if _central_probability(middle, degrees) < CONFIDENCE:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees) * math.tan(low)


def _central_probability(theta: float, degrees: int) -> float:
    """P(|T| <= sqrt(degrees) tan(theta)): Abramowitz and Stegun, 26.7.3 (odd) and 26.7.4 (even)."""
    total = math.fsum(_series(math.cos(theta) ** 2, degrees))
    if degrees % 2 == 0:
        return math.sin(theta) * total
    return 2 / math.pi * (theta + math.sin(theta) * math.cos(theta) * total)


def _series(square: float, degrees: int) -> Iterator[float]:
    """1 + 1/2 c^2 + 1*3/(2*4) c^4 ... for even degrees, 1 + 2/3 c^2 + 2*4/(3*5) c^4 ... for odd."""
    term, odd = 1.0, degrees % 2
    for k in range((degrees - odd) // 2):
        yield term
        term *= square * (2 * k + 1 + odd) / (2 * k + 2 + odd)
