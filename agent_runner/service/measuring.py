"""What a run's numbers are worth: beside the run they are compared with, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent_runner.models import ANY_OTHER
from agent_runner.records import Comparison, Finding, ModelUse, Outcome, RunResult
from agent_runner.results import check_results, compare, flat_metrics
from agent_runner.service.evidence import JobEvents

IMPORTED = "imported"  # the fingerprint of a baseline that was measured elsewhere

# Findings by which a run's numbers were measured in another way than the baseline's, or not as it says.
_OTHER_MEASUREMENT = {
    "several-models",
    "config-differs",
    "degenerate-baseline",
    "model-claim",
    "other-kind",
    "reference-moved",
}

_PARTIAL = Finding(
    severity="warn",
    code="partial-results",
    message="these are the results of a run that was ended, or told to end, when its time was nearly over: "
    "they show how far it came, not what the whole run would have shown",
)


@dataclass(frozen=True)
class Reference:
    """The run that another is compared with: `run_0`, or a baseline that is not the idea's own.

    info: its parsed results, where the whole files are to be held against each other.
    """

    name: str
    result: RunResult | None
    info: dict[str, Any] | None = None

    @property
    def fingerprint(self) -> str | None:
        return self.result.fingerprint if self.result else None


@dataclass(frozen=True)
class Measured:
    """A run's numbers, and what a reader of them must know."""

    metrics: dict[str, float]
    comparison: Comparison | None
    findings: tuple[Finding, ...]
    model: ModelUse | None

    def fingerprint(self, reference: Reference | None, expected: str | None) -> str | None:
        """The fingerprint that was expected of the run; None where it had another model than was expected."""
        baseline = reference.result if reference else None
        if baseline is None or baseline.model is None or self.model is None:
            return expected
        return expected if self.model.granted == baseline.model.granted else None


def measure(
    info: dict[str, Any] | None,
    events: JobEvents,
    grants: Mapping[str, ModelUse],
    reference: Reference | None,
    outcome: Outcome,
    *,
    cut_short: bool,
) -> Measured:
    """Everything that follows from a run's results.

    info: the parsed results; None where there are none, or where they count for nothing.
    events: what it said while it ran, its models among them. grants: what each name really stood for.
    cut_short: whether it ended, or was told to end, because its time was over.
    """
    model, findings = _model(events, info or {}, grants)
    if info is None:
        return Measured({}, None, findings, model)
    metrics = flat_metrics(info)
    baseline = reference.result if reference else None
    noise = baseline.noise if baseline else None
    findings += check_results(info, reference.info if reference else None, noise=noise)
    comparison, apart = _compare(metrics, model, reference)
    if outcome is Outcome.TIMED_OUT or any(f.code in _OTHER_MEASUREMENT for f in findings):
        comparison = None
    findings += (*apart, _PARTIAL) if cut_short else apart
    return Measured(metrics, comparison, findings, model)


def _model(
    events: JobEvents, info: Mapping[str, Any], grants: Mapping[str, ModelUse]
) -> tuple[ModelUse | None, tuple[Finding, ...]]:
    """The model as the run tells it, with what a person can do; findings where what it tells cannot be true."""
    claimed = events.model
    use = grants.get(claimed.requested) or grants.get(ANY_OTHER) if claimed else None
    if claimed is None or use is None:
        return claimed, ()
    if claimed.granted != claimed.requested:
        claimed = claimed.model_copy(update={"remedy": use.remedy})
    unknown = "what its numbers are of is not known"
    if claimed.granted != use.granted:
        message = (
            f"it says that it asked for {claimed.requested} and used {claimed.granted}, but was granted "
            f"{use.granted or 'none'}: {unknown}"
        )
        return claimed, (Finding(severity="fail", code="model-claim", message=message),)
    if len(events.models) > 1:
        message = f"it used several models ({', '.join(events.models)[:200]}): {unknown}"
        return claimed, (Finding(severity="warn", code="several-models", message=message),)
    stated = info.get("model")
    written = stated.get("granted") if isinstance(stated, dict) else None
    if isinstance(written, str) and written != claimed.granted:
        message = (
            f"it was granted {claimed.granted}, and its results are of {written[:80]}: {unknown}"
        )
        return claimed, (Finding(severity="fail", code="model-claim", message=message),)
    return claimed, ()


def _compare(
    metrics: dict[str, float], model: ModelUse | None, reference: Reference | None
) -> tuple[Comparison | None, tuple[Finding, ...]]:
    """Compare within one fingerprint only: another language model is another baseline."""
    baseline = reference.result if reference else None
    if reference is None or baseline is None or not metrics or not baseline.metrics:
        return None, ()
    ours, theirs = (use.granted if use else None for use in (model, baseline.model))
    unknown = theirs is None and baseline.fingerprint == IMPORTED
    if ours != theirs and not unknown:
        message = (
            f"this run used {ours or 'no model that it told of'}, {reference.name} {theirs or 'none'}: "
            "their numbers are not compared"
        )
        return None, (Finding(severity="warn", code="not-comparable", message=message),)
    compared = compare(
        metrics,
        baseline.metrics,
        reference.name,
        noise=baseline.noise,
        fingerprint=baseline.fingerprint,
    )
    return compared, ()
