"""Does an SAE result agree with itself: layer, model, sizes, parts and whole."""

from __future__ import annotations

import math
from collections.abc import Iterator

from agent_runner.records import Finding
from agent_runner.results.findings import fail, listed, note, numbers, warn
from agent_runner.results.metrics import as_number
from agent_runner.results.sae_file import SAEFile

MEAN_TOLERANCE = 1e-4  # of a number against what it was made from, which may be rounded


def configuration(file: SAEFile) -> Iterator[Finding]:
    """The SAE that was trained is the one that was evaluated."""
    layers, config = file.layers, file.section("sae_cfg_dict")
    layer = layers.get("layer")
    hook = layers.get("sae_cfg_dict.hook_layer")
    if layer is not None and hook is not None and layer != hook:
        yield fail("mismatch", f"layer / sae_cfg_dict.hook_layer: {layer} vs {hook}")
    release, trained = layers.get("sae_lens_release_id"), layer if layer is not None else hook
    if release is not None and trained is not None and release != trained:
        yield fail("mismatch", f"release id says layer {release}, training info says {trained}")
    named = layers.get("sae_cfg_dict.hook_name")
    place, other = ("hook_layer", hook) if hook is not None else ("layer", layer)
    if named is not None and other is not None and named != other:
        yield fail("mismatch", f"sae_cfg_dict.hook_name / {place}: {named} vs {other}")
    size, d_sae = file.number("dict_size"), as_number(config.get("d_sae"))
    if size is not None and d_sae is not None and size != d_sae:
        yield fail("mismatch", f"dict_size / sae_cfg_dict.d_sae: {size:g} vs {d_sae:g}")
    yield from _models(file)


def _models(file: SAEFile) -> Iterator[Finding]:
    evaluated, trained = file.section("eval_config"), file.section("sae_cfg_dict")
    names = {
        "eval_config.model_name": evaluated.get("model_name"),
        "sae_cfg_dict.model_name": trained.get("model_name"),
        "model.granted": file.section("model").get("granted"),
    }
    known = {place: name for place, name in names.items() if isinstance(name, str)}
    if len(set(known.values())) > 1:
        yield fail("mismatch", f"language models: {listed(f'{p} {n}' for p, n in known.items())}")
    llm, sae = evaluated.get("llm_dtype"), trained.get("dtype")
    if isinstance(llm, str) and isinstance(sae, str) and llm != sae:
        yield note(
            "mismatch", f"eval_config.llm_dtype / sae_cfg_dict.dtype: {llm[:40]} vs {sae[:40]}"
        )


def parts(file: SAEFile) -> Iterator[Finding]:
    """Everything that was asked for is there, and the parts make up the whole."""
    means, by_k = file.means("sae"), file.by_k("sae")
    missing = [k for k in file.k_asked if k not in by_k]
    if missing and means:
        message = f"k_values asks for {numbers(missing)}, but there is no accuracy for them"
        yield fail("missing-k", message)
    has_details = isinstance(file.info.get("eval_result_details"), list)
    absent = [name for name in file.datasets_asked if name not in file.datasets]
    if absent and has_details:
        yield fail("missing-dataset", f"no results for {listed(absent)}")
    holes = [
        name
        for name, scores in file.datasets.items()
        if any(metric not in scores for metric in means)
    ]
    if holes:
        yield fail("missing-k", f"not every accuracy of the means is there for {listed(holes)}")
    differing = [
        f"{name} is {mean:.4f}, its data sets average to {average:.4f}"
        for name, mean in {**file.means("llm"), **means}.items()
        if abs((average := _average(file, name, mean)) - mean) > MEAN_TOLERANCE
    ]
    if differing:
        yield fail("mean-differs", listed(differing))


def _average(file: SAEFile, name: str, otherwise: float) -> float:
    """Of one accuracy over the data sets that have it."""
    values = [scores[name] for scores in file.datasets.values() if name in scores]
    return sum(values) / len(values) if values else otherwise


def declared(file: SAEFile) -> Iterator[Finding]:
    """`metrics` is what gets compared: it must say what the evaluation says."""
    own = {n: file.number(n) for n in ("l0", "explained_variance", "dead_features", "final_loss")}
    evaluated = {**file.means("llm"), **file.means("sae"), **own}
    differing = []
    for name, value in file.section("metrics").items():
        said, found = as_number(value), evaluated.get(name)
        if said is None or found is None:
            continue
        if not math.isclose(said, found, rel_tol=MEAN_TOLERANCE, abs_tol=MEAN_TOLERANCE):
            differing.append(f"{name} is {said:.6g} in metrics and {found:.6g} in the evaluation")
    if differing:
        yield fail("metrics-differ", listed(differing))


def settings(file: SAEFile) -> Iterator[Finding]:
    """Settings that make a result weaker than it looks."""
    config = file.section("sae_cfg_dict")
    d_in, d_sae, tokens = (
        as_number(config.get(name)) for name in ("d_in", "d_sae", "training_tokens")
    )
    if d_in is not None and d_in == d_sae:
        message = f"d_sae == d_in == {d_in:.0f}: shape mistakes that swap them cannot show"
        yield warn("not-overcomplete", message)
    if tokens is not None and tokens < 0:
        yield warn("placeholder", f"sae_cfg_dict.training_tokens = {tokens:.0f}")
    if file.info.get("smoke") is True:
        message = "made with the tiny settings of a smoke run: it shows that the code runs, no more"
        yield warn("smoke-settings", message)
