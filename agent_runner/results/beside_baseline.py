"""Checks of one result file beside its baseline's: can the two be compared, and did anything change."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from agent_runner.records import Finding
from agent_runner.results.metrics import flat_metrics
from agent_runner.results.sae_file import SAEFile

# Cached probes of the language model come back to the last digit; anything more is another computation.
REFERENCE_TOLERANCE = 1e-6
# Settings of the evaluation that change its speed, not its numbers.
_SPEED = {"sae_batch_size", "llm_batch_size", "lower_vram_usage"}
MAX_SHOWN = 5


def compare_files(info: Mapping[str, Any], baseline: Mapping[str, Any]) -> Iterator[Finding]:
    """Findings that only the two files together can give."""
    file, before = SAEFile(info), SAEFile(baseline)
    if not (file.is_one and before.is_one):
        yield from _identical(flat_metrics(info), flat_metrics(baseline))
        return
    eval_id = info.get("eval_id")
    if isinstance(eval_id, str) and eval_id and eval_id == baseline.get("eval_id"):
        message = (
            f"eval_id {eval_id[:80]} is the baseline's: this evaluation was not made by this run"
        )
        yield Finding(severity="fail", code="same-eval", message=message)
    yield from _configuration(file, before)
    yield from _reference(file, before)
    yield from _identical(_scores(file), _scores(before))


def _configuration(file: SAEFile, before: SAEFile) -> Iterator[Finding]:
    ours, theirs = file.section("eval_config"), before.section("eval_config")
    shared = [name for name in theirs if name in ours and name not in _SPEED]
    changed = [name for name in shared if ours[name] != theirs[name]]
    if changed:
        each = (
            f"{name} {_short(ours[name])} (baseline {_short(theirs[name])})" for name in changed
        )
        shown = ", ".join(itertools.islice(each, MAX_SHOWN))
        message = (
            f"evaluated otherwise than the baseline: {shown}; their accuracies cannot be compared"
        )
        yield Finding(severity="fail", code="config-differs", message=message)


def _reference(file: SAEFile, before: SAEFile) -> Iterator[Finding]:
    ours, theirs = file.means("llm"), before.means("llm")
    moved = {name: ours[name] - theirs[name] for name in theirs if name in ours}
    if not moved:
        return
    name = max(moved, key=lambda n: abs(moved[n]))
    if abs(moved[name]) > REFERENCE_TOLERANCE:
        message = (
            "the language model's own probes score otherwise than in the baseline "
            f"({name} {moved[name]:+.4f}): another model, other data, another seed or another cache state, "
            "so the SAE accuracies cannot be compared"
        )
        yield Finding(severity="fail", code="reference-moved", message=message)


def _identical(ours: Mapping[str, float], theirs: Mapping[str, float]) -> Iterator[Finding]:
    """Whole numbers (counts, a perfect score) may well be equal by chance; measurements are not."""
    if ours and ours == theirs and any(value % 1 for value in ours.values()):
        message = (
            f"all {len(ours)} metrics are exactly the baseline's: the edit changed nothing measured"
        )
        yield Finding(severity="warn", code="identical", message=message)


def _scores(file: SAEFile) -> dict[str, float]:
    """What an SAE itself is measured by."""
    own = {name: file.number(name) for name in ("final_loss", "l0", "explained_variance")}
    return {
        **file.means("sae"),
        **{name: value for name, value in own.items() if value is not None},
    }


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
