"""Sanity checks of a result file: what a reader of its numbers must know before believing them.

The checks of an SAE's file each catch a mistake that was made in practice (an SAE that was never trained, one
layer trained and another evaluated, a stale file). A file of another template is only asked what holds for
any file. `fail` means: these numbers say nothing about the experiment, or cannot be compared; `warn`: read them
with care; `info`: good to know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from agent_runner.records import Comparison, Finding, Noise
from agent_runner.results import sae_agreement, sae_scores, sae_training
from agent_runner.results.any_file import check_any, words_for_numbers
from agent_runner.results.beside_baseline import compare_files
from agent_runner.results.findings import fail, listed, note
from agent_runner.results.metrics import compare, flat_metrics
from agent_runner.results.sae_file import SAEFile

_SAE_CHECKS: tuple[Callable[[SAEFile], Iterator[Finding]], ...] = (
    sae_training.training,
    sae_training.parameters,
    sae_training.codes,
    sae_scores.accuracies,
    sae_scores.reference,
    sae_scores.better_than_model,
    sae_training.beside_untrained,
    sae_agreement.configuration,
    sae_agreement.parts,
    sae_agreement.declared,
    sae_agreement.settings,
)


def check_results(
    info: Mapping[str, Any],
    baseline_info: Mapping[str, Any] | None = None,
    *,
    noise: Noise | None = None,
) -> tuple[Finding, ...]:
    """What is suspicious about a result, also beside its baseline's where that is given.

    Both are parsed files (`read_results`); anything may stand in them. `noise` is the baseline's.
    """
    findings = list(_alone(info))
    if baseline_info is not None:
        findings += _degenerate_baseline(baseline_info)
        findings += compare_files(info, baseline_info)
        if not is_degenerate(findings):
            compared = compare(flat_metrics(info), flat_metrics(baseline_info), "", noise=noise)
            findings += check_comparison(compared)
    return tuple(findings)


def _alone(info: Mapping[str, Any]) -> Iterator[Finding]:
    file = SAEFile(info)
    if not file.is_one:
        yield from check_any(info)
        return
    yield from chain.from_iterable(check(file) for check in _SAE_CHECKS)
    yield from words_for_numbers(info)


def _degenerate_baseline(baseline: Mapping[str, Any]) -> Iterator[Finding]:
    bad = [finding for finding in _alone(baseline) if finding.severity == "fail"]
    if bad:
        message = (
            f"the baseline's own numbers say nothing ({listed(finding.code for finding in bad)}), so nothing "
            "can be compared with them"
        )
        yield fail("degenerate-baseline", message)


def check_comparison(comparison: Comparison) -> tuple[Finding, ...]:
    """Whether a run differs from its baseline at all by more than unchanged code does under other seeds."""
    differing = [pair for pair in comparison.metrics.values() if pair.difference]
    if not differing or not all(pair.within_noise for pair in differing):
        return ()
    message = (
        f"none of the {len(differing)} metrics that differ from the baseline's does so by more than unchanged "
        "code does under other seeds: no effect is shown, nor is a small one ruled out"
    )
    return (note("within-noise", message),)


def is_degenerate(findings: Iterable[Finding]) -> bool:
    """Whether a baseline with these findings must not be compared with: one of them is a `fail`."""
    return any(finding.severity == "fail" for finding in findings)
