"""Can the accuracies of an SAE be true: constant codes, impossible values, more than the model itself knows."""

from __future__ import annotations

import math
from collections.abc import Iterator

from agent_runner.records import Finding
from agent_runner.results.findings import fail, listed, numbers, warn, with_values
from agent_runner.results.sae_file import SAEFile

CHANCE = 0.5  # of the balanced two-class probes of sparse probing
# Repeated probing of one SAE scatters by up to 0.03 where the test sets are small.
PROBE_NOISE = 0.03
# Codes without information score 0.43 to 0.55, never far below chance.
BELOW_CHANCE = 0.4
_USUAL_TEST_SIZE = 1000  # SAEBench's own
_MANY = 3  # so many accuracies are not equal by bad luck


def accuracies(file: SAEFile) -> Iterator[Finding]:
    """Constant codes show as exact equality: live codes scatter, even without information."""
    means, by_k = file.means("sae"), file.by_k("sae")
    if not means:
        yield fail("no-accuracies", "eval_result_metrics.sae has no accuracy that is a number")
    yield from _exact_chance(file)
    values = [
        scores["sae_test_accuracy"]
        for scores in file.datasets.values()
        if "sae_test_accuracy" in scores
    ]
    if len(values) >= _MANY and len(set(values)) == 1 and values[0] != 1:
        yield fail("no-variance", f"sae_test_accuracy identical on {len(values)} datasets")
    if len(by_k) >= _MANY and len(set(by_k.values())) == 1 and 1 not in by_k.values():
        yield fail("flat-in-k", f"accuracy does not depend on k ({numbers(sorted(by_k))})")
    yield from _outside(file)


def _exact_chance(file: SAEFile) -> Iterator[Finding]:
    means = file.means("sae")
    if means and all(value == CHANCE for value in means.values()):
        message = (
            f"all {len(means)} SAE accuracies are exactly {CHANCE}: SAE codes are constant "
            "(all zero or not finite), not merely uninformative"
        )
        yield (fail if len(means) >= _MANY else warn)("exact-chance", message)
        return
    constant = [
        name
        for name, scores in file.datasets.items()
        if len(own := [v for n, v in scores.items() if n.startswith("sae_")]) >= _MANY
        and all(value == CHANCE for value in own)
    ]
    if constant:
        message = f"every SAE accuracy is exactly {CHANCE} on {listed(constant)}: codes are constant there"
        yield warn("exact-chance", message)


def _outside(file: SAEFile) -> Iterator[Finding]:
    means = file.means("sae")
    outside = {name: value for name, value in means.items() if not 0 <= value <= 1}
    if outside:
        yield fail("out-of-range", f"not an accuracy between 0 and 1: {with_values(outside)}")
    below = {n: v for n, v in means.items() if 0 <= v < min(BELOW_CHANCE, CHANCE - _margin(file))}
    if below:
        message = (
            f"far below the chance of {CHANCE}: {with_values(below)}. Codes without information do not "
            "score so low; look for labels that are swapped between training and test"
        )
        yield warn("below-chance", message)


def reference(file: SAEFile) -> Iterator[Finding]:
    """Whether the language model's own probes find anything: what they do not find, no SAE can keep."""
    means = file.means("llm")
    if len(means) >= _MANY and all(value == CHANCE for value in means.values()):
        message = (
            f"all {len(means)} accuracies of the language model's own probes are exactly {CHANCE}: its "
            "activations are constant"
        )
        yield fail("reference-at-chance", message)
        return
    best = means.get("llm_test_accuracy")
    if best is not None and best <= CHANCE + PROBE_NOISE:
        message = (
            f"probes on the language model's own activations are at chance ({best:.4f}): this data cannot "
            "show what an SAE keeps of them"
        )
        yield warn("reference-at-chance", message)


def better_than_model(file: SAEFile) -> Iterator[Finding]:
    """Nothing an SAE encodes can tell more than all activations it is made from, but for noise.

    With k features it may well beat k of the model's neurons, so every accuracy is held against the one with
    all activations.
    """
    best = file.means("llm").get("llm_test_accuracy")
    if best is not None:
        margin = _margin(file)
        above = {n: v for n, v in file.means("sae").items() if v > best + margin}
        if above:
            yield _leak(f"({best:.4f})", with_values(above))
            return
    margin = _margin(file, datasets=1)
    leaking = [
        f"{name}: {top:.4f} against {scores['llm_test_accuracy']:.4f}"
        for name, scores in file.datasets.items()
        if "llm_test_accuracy" in scores
        and (own := [v for n, v in scores.items() if n.startswith("sae_")])
        and (top := max(own)) > scores["llm_test_accuracy"] + margin
    ]
    if leaking:
        yield _leak("of single data sets", listed(leaking))


def _leak(whose: str, which: str) -> Finding:
    return warn(
        "better-than-model",
        f"better than probes on the language model's own activations {whose}, from which the SAE's codes "
        f"are made: {which}. Look for a leak of labels or test data",
    )


def _margin(file: SAEFile, datasets: int | None = None) -> float:
    """Four standard errors of an accuracy near chance on this many test texts, and at least PROBE_NOISE."""
    count = len(file.datasets) if datasets is None else datasets
    size = file.test_size or _USUAL_TEST_SIZE
    return max(PROBE_NOISE, 4 * CHANCE / math.sqrt(size * max(1, count)))
