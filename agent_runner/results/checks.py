"""Sanity checks of a result file: what a reader of its numbers must know before believing them.

The checks of an SAE's file each catch a mistake that was made in practice (an SAE that was never trained, one
layer trained and another evaluated, a stale file). A file of another template is only asked what holds for
any file. `fail` means: these numbers say nothing about the experiment; `warn`: read them with care.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from agent_runner.records import Finding
from agent_runner.results.beside_baseline import compare_files
from agent_runner.results.metrics import as_number, flat_metrics
from agent_runner.results.sae_file import SAEFile

CHANCE = 0.5  # of the balanced two-class probes of sparse probing
# Repeated probing of one SAE scatters by up to 0.03 where the test sets are small.
PROBE_NOISE = 0.03
MEAN_TOLERANCE = 1e-4  # of a reported mean against its parts, which may be rounded
MANY_DEAD = 0.5
MAX_MESSAGE = 600  # names in the file are the run's, and may be of any length


def check_results(
    info: Mapping[str, Any], baseline_info: Mapping[str, Any] | None = None
) -> tuple[Finding, ...]:
    """What is suspicious about a result, also beside its baseline's where that is given.

    Both are parsed files (`read_results`); anything may stand in them.
    """
    file = SAEFile(info)
    checks = [check(file) for check in _SAE_CHECKS] if file.is_one else [_no_metrics(info)]
    if baseline_info is not None:
        checks.append(compare_files(info, baseline_info))
    return tuple(chain.from_iterable(checks))


def is_degenerate(findings: Iterable[Finding]) -> bool:
    """Whether a baseline with these findings must not be compared with: one of them is a `fail`."""
    return any(finding.severity == "fail" for finding in findings)


def _no_metrics(info: Mapping[str, Any]) -> Iterator[Finding]:
    if not flat_metrics(info):
        yield _warn("no-metrics", "final_info.json has no number in it that could be compared")


# ------------------------------------------------------------------ was it trained


def _training(file: SAEFile) -> Iterator[Finding]:
    if file.number("training_steps") == 0:
        yield _fail("no-training", "training_steps is 0: the SAE evaluated is the initial one")
    if "final_loss" in file.info and file.number("final_loss") is None:
        yield _fail("no-loss", f"final_loss is {file.info['final_loss']!r}")
    curve = file.loss_curve
    if curve and len(curve) > 1 and not curve[-1] < curve[0]:
        message = (
            f"the training loss did not fall: {curve[0]:.4g} at first, {curve[-1]:.4g} at last"
        )
        yield _warn("loss-not-falling", message)


def _codes(file: SAEFile) -> Iterator[Finding]:
    """Sparsity and reconstruction: an SAE can probe well and still reconstruct nothing."""
    dead = _dead_fraction(file)
    if file.number("l0") == 0 or dead == 1:
        yield _fail("all-dead", "no feature is ever active (L0 is 0)")
    elif dead is not None and dead > MANY_DEAD:
        yield _warn("dead-features", f"{dead:.0%} of the features are never active")
    explained = file.number("explained_variance")
    if explained is not None and explained <= 0:
        message = f"explained_variance is {explained:.3g}: no better than the mean activation"
        yield _warn("no-reconstruction", message)


def _dead_fraction(file: SAEFile) -> float | None:
    """`dead_features` as a share of all: a whole number is a count, a decimal one a share already."""
    dead, size = file.number("dead_features"), file.number("dict_size")
    if dead is None or isinstance(file.info["dead_features"], float):
        return dead
    return dead / size if size else None


# ------------------------------------------------------------------ can the accuracies be true


def _accuracies(file: SAEFile) -> Iterator[Finding]:
    means, by_k = file.means("sae"), file.by_k("sae")
    if not means:
        yield _fail("no-accuracies", "eval_result_metrics.sae has no accuracy that is a number")
    elif all(value == CHANCE for value in means.values()):
        message = (
            f"all {len(means)} SAE accuracies are exactly {CHANCE}: SAE codes are constant "
            "(all zero or not finite), not merely uninformative"
        )
        yield _fail("exact-chance", message)
    values = [
        scores["sae_test_accuracy"]
        for scores in file.datasets.values()
        if "sae_test_accuracy" in scores
    ]
    if len(values) > 2 and len(set(values)) == 1 and values[0] != 1:
        yield _fail("no-variance", f"sae_test_accuracy identical on {len(values)} datasets")
    if len(by_k) > 2 and len(set(by_k.values())) == 1 and 1 not in by_k.values():
        yield _fail("flat-in-k", f"accuracy does not depend on k ({sorted(by_k)})")
    outside = {name: value for name, value in means.items() if not 0 <= value <= 1}
    if outside:
        yield _fail("out-of-range", f"not an accuracy between 0 and 1: {_listed(outside)}")


def _better_than_model(file: SAEFile) -> Iterator[Finding]:
    ceiling = file.means("llm").get("llm_test_accuracy")
    if ceiling is None:
        return
    above = {n: v for n, v in file.means("sae").items() if v > ceiling + PROBE_NOISE}
    if above:
        message = (
            f"better than probes on the language model's own activations ({ceiling:.4f}), from which the "
            f"SAE's codes are made: {_listed(above)}. Look for a leak of labels or test data"
        )
        yield _warn("better-than-model", message)


# ------------------------------------------------------------------ does the file agree with itself


def _configuration(file: SAEFile) -> Iterator[Finding]:
    layers, config = file.layers, file.section("sae_cfg_dict")
    layer = layers.get("layer")
    hook = layers.get("sae_cfg_dict.hook_layer")
    if layer is not None and hook is not None and layer != hook:
        yield _fail("mismatch", f"layer / sae_cfg_dict.hook_layer: {layer} vs {hook}")
    release, trained = layers.get("sae_lens_release_id"), layer if layer is not None else hook
    if release is not None and trained is not None and release != trained:
        yield _fail("mismatch", f"release id says layer {release}, training info says {trained}")
    named = layers.get("sae_cfg_dict.hook_name")
    if named is not None and hook is not None and named != hook:
        yield _fail("mismatch", f"sae_cfg_dict.hook_name / hook_layer: {named} vs {hook}")
    size, d_sae = file.number("dict_size"), as_number(config.get("d_sae"))
    if size is not None and d_sae is not None and size != d_sae:
        yield _fail("mismatch", f"dict_size / sae_cfg_dict.d_sae: {size:g} vs {d_sae:g}")
    yield from _models(file)


def _models(file: SAEFile) -> Iterator[Finding]:
    evaluated, trained = file.section("eval_config"), file.section("sae_cfg_dict")
    granted = file.section("model").get("granted")
    names = {
        "eval_config.model_name": evaluated.get("model_name"),
        "sae_cfg_dict.model_name": trained.get("model_name"),
        "model.granted": granted,
    }
    known = {place: name for place, name in names.items() if isinstance(name, str)}
    if len(set(known.values())) > 1:
        yield _fail(
            "mismatch", "language models: " + ", ".join(f"{p} {n}" for p, n in known.items())
        )
    dtypes = evaluated.get("llm_dtype"), trained.get("dtype")
    if all(isinstance(dtype, str) for dtype in dtypes) and dtypes[0] != dtypes[1]:
        message = f"eval_config.llm_dtype / sae_cfg_dict.dtype: {dtypes[0]} vs {dtypes[1]}"
        yield Finding(severity="info", code="mismatch", message=message[:MAX_MESSAGE])


def _parts(file: SAEFile) -> Iterator[Finding]:
    """Everything that was asked for is there, and the parts make up the whole."""
    asked = file.section("eval_config")
    by_k, k_values, datasets = file.by_k("sae"), asked.get("k_values"), asked.get("dataset_names")
    k_asked = [k for k in k_values if isinstance(k, int)] if isinstance(k_values, list) else []
    missing = [k for k in k_asked if k not in by_k]
    if missing and by_k:
        yield _fail("missing-k", f"k_values asks for {missing}, but there is no accuracy for them")
    names = [n for n in datasets if isinstance(n, str)] if isinstance(datasets, list) else []
    absent = [name for name in names if name not in file.datasets]
    if absent and file.datasets:
        yield _fail("missing-dataset", f"no results for {', '.join(absent)}")
    differing = [
        f"{name} is {mean:.4f}, its data sets average to {average:.4f}"
        for name, mean in {**file.means("llm"), **file.means("sae")}.items()
        if abs((average := _average(file, name, mean)) - mean) > MEAN_TOLERANCE
    ]
    if differing:
        yield _fail("mean-differs", "; ".join(differing))


def _average(file: SAEFile, name: str, otherwise: float) -> float:
    """Of one accuracy over the data sets that have it."""
    values = [scores[name] for scores in file.datasets.values() if name in scores]
    return sum(values) / len(values) if values else otherwise


def _settings(file: SAEFile) -> Iterator[Finding]:
    config = file.section("sae_cfg_dict")
    d_in, d_sae, tokens = (config.get(name) for name in ("d_in", "d_sae", "training_tokens"))
    if isinstance(d_in, int) and d_in == d_sae:
        message = f"d_sae == d_in == {d_in}: shape mistakes that swap them cannot show"
        yield _warn("not-overcomplete", message)
    if isinstance(tokens, int) and tokens < 0:
        yield _warn("placeholder", f"sae_cfg_dict.training_tokens = {tokens}")


_SAE_CHECKS: tuple[Callable[[SAEFile], Iterator[Finding]], ...] = (
    _training,
    _codes,
    _accuracies,
    _better_than_model,
    _configuration,
    _parts,
    _settings,
)


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in values.items())


def _fail(code: str, message: str) -> Finding:
    return Finding(severity="fail", code=code, message=message[:MAX_MESSAGE])


def _warn(code: str, message: str) -> Finding:
    return Finding(severity="warn", code=code, message=message[:MAX_MESSAGE])
