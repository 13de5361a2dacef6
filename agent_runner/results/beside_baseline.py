"""Checks of one result file beside its baseline's: can the two be compared, and did anything change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agent_runner.records import Finding
from agent_runner.results.any_file import is_share
from agent_runner.results.findings import fail, listed, note, shown, warn
from agent_runner.results.metrics import flat_metrics
from agent_runner.results.sae_file import SAEFile, as_object

# Cached probes of the language model come back to the last digit; anything more is another computation.
REFERENCE_TOLERANCE = 1e-6
# Settings of the evaluation that change its speed, not its numbers.
_SPEED = {"sae_batch_size", "llm_batch_size", "lower_vram_usage"}
# What the template's harness writes beside the scores, and an edit has no reason to leave out.
_HARNESS = ("integrity", "training", "data", "model")


def compare_files(file: Mapping[str, Any], baseline: Mapping[str, Any]) -> Iterator[Finding]:
    """Findings that only the two files together can give."""
    ours, theirs = SAEFile(file), SAEFile(baseline)
    if ours.is_one and theirs.is_one:
        yield from _compare_saes(ours, theirs)
        return
    if theirs.is_one:
        message = (
            "the baseline's file is a sparse-probing result of an SAE, and this one is not: it was not "
            "written by the template's evaluation"
        )
        yield fail("other-kind", message)
    metrics, before = flat_metrics(file), flat_metrics(baseline)
    yield from _missing(metrics, before)
    yield from _units(metrics, before)
    yield from _identical(metrics, before)


def _compare_saes(file: SAEFile, before: SAEFile) -> Iterator[Finding]:
    eval_id = file.info.get("eval_id")
    if isinstance(eval_id, str) and eval_id and eval_id == before.info.get("eval_id"):
        message = (
            f"eval_id {eval_id[:80]} is the baseline's: this evaluation was not made by this run"
        )
        yield fail("same-eval", message)
    yield from _configuration(file, before)
    yield from _budget(file, before)
    yield from _reference(file, before)
    left_out = [name for name in _HARNESS if before.section(name) and not file.section(name)]
    if left_out:
        message = f"{listed(left_out)}: the baseline's file has it and this one has not"
        yield warn("sections-missing", message)
    yield from _missing(flat_metrics(file.info), flat_metrics(before.info))
    yield from _same_scores(file, before)


# ------------------------------------------------------------------ measured in the same way


def _configuration(file: SAEFile, before: SAEFile) -> Iterator[Finding]:
    ours, theirs = _evaluation(file), _evaluation(before)
    changed = [name for name in theirs if name in ours and ours[name] != theirs[name]]
    if changed:
        each = (f"{n} {shown(ours[n])} (baseline {shown(theirs[n])})" for n in changed)
        message = f"evaluated otherwise than the baseline: {listed(each)}; their accuracies cannot be compared"
        yield fail("config-differs", message)


def _evaluation(file: SAEFile) -> dict[str, Any]:
    """What the evaluation was of and how it was made, as far as it decides the numbers."""
    found = {n: v for n, v in file.section("eval_config").items() if n not in _SPEED}
    config = file.section("sae_cfg_dict")
    for name in ("hook_layer", "hook_name", "d_in"):
        if config.get(name) is not None:
            found[f"sae_cfg_dict.{name}"] = config[name]
    device, smoke = file.info.get("device"), file.info.get("smoke")
    if isinstance(device, str) and device:
        found["device"] = device.partition(":")[0]  # which of several GPUs does not matter
    if isinstance(smoke, bool):
        found["smoke"] = smoke
    data = file.section("data")
    for name in ("corpus", "corpus_digest"):
        if isinstance(data.get(name), str):
            found[f"data.{name}"] = data[name]
    for name, digest in as_object(data.get("probing")).items():
        found[f"data.probing.{name[:60]}"] = digest
    return found


def _budget(file: SAEFile, before: SAEFile) -> Iterator[Finding]:
    """Legitimate edits that by themselves move the scores."""
    size, other = file.number("dict_size"), before.number("dict_size")
    if size is not None and other is not None and size != other:
        message = (
            f"dict_size is {size:.12g}, the baseline's {other:.12g}: a dictionary of another size scores "
            "otherwise by itself"
        )
        yield warn("size-differs", message)
    steps, earlier = file.number("training_steps"), before.number("training_steps")
    if steps is not None and earlier is not None and steps != earlier:
        message = (
            f"trained for {steps:.12g} steps, the baseline for {earlier:.12g}: part of any difference may come "
            "from that"
        )
        yield note("training-differs", message)


def _reference(file: SAEFile, before: SAEFile) -> Iterator[Finding]:
    ours, theirs = file.means("llm"), before.means("llm")
    moved = {name: ours[name] - theirs[name] for name in theirs if name in ours}
    if theirs and not moved:
        message = (
            "the language model's own probes, which the baseline's file has, are not there: whether both "
            "were evaluated in the same way cannot be told"
        )
        yield warn("no-reference", message)
    if not moved:
        return
    name = max(moved, key=lambda n: abs(moved[n]))
    if abs(moved[name]) > REFERENCE_TOLERANCE:
        message = (
            "the language model's own probes score otherwise than in the baseline "
            f"({name} {moved[name]:+.4f}): another model, other data, another seed or another cache state, "
            "so the SAE accuracies cannot be compared"
        )
        yield fail("reference-moved", message)


def _missing(ours: Mapping[str, float], theirs: Mapping[str, float]) -> Iterator[Finding]:
    missing = [name for name in theirs if name not in ours]
    if missing and ours:
        yield warn("metrics-missing", f"measured for the baseline and not here: {listed(missing)}")


def _units(ours: Mapping[str, float], theirs: Mapping[str, float]) -> Iterator[Finding]:
    """A fraction here and a percentage there, or the other way round; only where it is plain."""
    mixed = []
    for name, value in ours.items():
        small, large = sorted((value, theirs.get(name, value)))
        if is_share(name) and 0.01 < small < 1 and 2 < large <= 100 and 67 <= large / small <= 150:
            mixed.append(f"{name} {value:.4g} (baseline {theirs[name]:.4g})")
    if mixed:
        yield warn("mixed-units", f"a fraction beside a percentage: {listed(mixed)}")


# ------------------------------------------------------------------ did anything change


def _same_scores(file: SAEFile, before: SAEFile) -> Iterator[Finding]:
    """All of an SAE's scores are the baseline's; its loss may differ, which only says what was minimised."""
    ours, theirs = _scores(file), _scores(before)
    loss, other = file.number("final_loss"), before.number("final_loss")
    if ours and ours == theirs and loss != other and any(value % 1 for value in ours.values()):
        message = (
            f"all {len(ours)} scores are exactly the baseline's, and only the loss differs: the edit changed "
            "how the loss is computed, but not the SAE"
        )
        yield warn("identical", message)
    elif loss == other:
        extra = {} if loss is None else {"final_loss": loss}
        yield from _identical({**ours, **extra}, {**theirs, **extra})


def _identical(ours: Mapping[str, float], theirs: Mapping[str, float]) -> Iterator[Finding]:
    """Whole numbers (counts, a perfect score) may well be equal by chance; measurements are not."""
    if ours and ours == theirs and any(value % 1 for value in ours.values()):
        message = (
            f"all {len(ours)} metrics are exactly the baseline's: the edit changed nothing measured"
        )
        yield warn("identical", message)


def _scores(file: SAEFile) -> dict[str, float]:
    """What an SAE itself is measured by."""
    own = {name: file.number(name) for name in ("l0", "explained_variance")}
    return {**file.means("sae"), **{name: v for name, v in own.items() if v is not None}}
