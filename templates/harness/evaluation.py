"""Sparse probing of a trained SAE by SAEBench, on inputs that are the same for every run.

Each data set is scored by its own call, with the seed set anew and on a copy of the SAE. So neither the
order of the data sets, nor what an SAE's `encode` changes in itself, nor whether the inputs were computed
or found in the store has any influence on the numbers. The seed of the probes moves with the run's seed
offset; `eval_config.random_seed` is the one the inputs were sampled with, which never does.
"""

from __future__ import annotations

import copy
import time
import uuid
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch.utils.serialization import config as serialization

from harness import events, measure, probing, quiet, seeds
from harness.activations import TrainingActivations
from harness.models import LanguageModel


def sparse_probing(sae: Any, acts: TrainingActivations) -> dict[str, Any]:
    """SAEBench's result of its sparse probing, as a plain dict with the keys of its own output file.

    Args:
        sae: encodes (batch, tokens, d_model) to (batch, tokens, d_sae) in the language model's dtype; has
            W_dec, `to`, `device`, `dtype` and `cfg` as `experiment.py` shows.
        acts: the activations it was trained on; the same layer is evaluated.

    Raises:
        ValueError: the SAE is for another layer or hook than its training activations, or is not finite.
    """
    _check(sae, acts)
    events.phase("evaluation")
    print("sparse probing", flush=True)
    folders = probing.artifacts(acts.language_model, acts.layer)
    started = time.monotonic()
    scores, per_class = score(
        sae, acts.language_model, folders, seed=seeds.moved(seeds.EVALUATION_SEED)
    )
    print(f"scored {len(folders)} data sets in {time.monotonic() - started:.1f} s", flush=True)
    return _output(sae, acts, _config(acts.language_model, list(folders)), scores, per_class)


def score(
    sae: Any, model: LanguageModel, folders: dict[str, Path], *, seed: int
) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """Scores of an SAE by data set, and the same by class; a line is printed for each data set.

    Args:
        folders: where the inputs of each data set lie (`probing.artifacts`).
        seed: of the probes' training, set anew for each data set.
    """
    config = _config(model, list(folders))
    scores: dict[str, dict[str, float]] = {}
    per_class: dict[str, Any] = {}
    grad_was_on = torch.is_grad_enabled()
    for name, folder in folders.items():
        scores[name], per_class[name] = _score(sae, config, name, folder, model, seed)
        print(f"  {name}: {_summary(scores[name], config.k_values)}", flush=True)
    torch.set_grad_enabled(grad_was_on)  # SAEBench turns it on and leaves it so
    return scores, per_class


def means(scores: dict[str, dict[str, float]]) -> dict[str, float]:
    """The mean over data sets of each metric."""
    from sae_bench.sae_bench_utils.general_utils import average_results_dictionaries

    named = {f"{name}_results": values for name, values in scores.items()}
    return average_results_dictionaries(named, list(scores))  # type: ignore[no-any-return]


def _check(sae: Any, acts: TrainingActivations) -> None:
    if (sae.cfg.hook_layer, sae.cfg.hook_name) != (acts.layer, acts.hook_name):
        raise ValueError(
            f"the SAE's cfg says layer {sae.cfg.hook_layer}, hook {sae.cfg.hook_name!r}, but it was trained on "
            f"layer {acts.layer}, hook {acts.hook_name!r}; pass hook_layer and hook_name of the activations"
        )
    for name, value in sae.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            bad = int((~torch.isfinite(value)).sum())
            raise ValueError(
                f"{name} of the trained SAE has {bad} of {value.numel()} values that are NaN or infinite; "
                "the training diverged or divided by zero. Nothing was evaluated"
            )


def _config(model: LanguageModel, names: list[str]) -> Any:
    from sae_bench.evals.sparse_probing.eval_config import SparseProbingEvalConfig

    s = model.settings
    return SparseProbingEvalConfig(
        random_seed=seeds.EVALUATION_SEED,
        dataset_names=names,
        probe_train_set_size=s.probe_train_set_size,
        probe_test_set_size=s.probe_test_set_size,
        context_length=s.context_length,
        sae_batch_size=s.sae_batch_size,
        llm_batch_size=s.batch_size,
        llm_dtype=s.dtype,
        model_name=model.granted,
        k_values=list(s.k_values),
    )


def _score(
    sae: Any, config: Any, name: str, folder: Path, model: LanguageModel, seed: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """Scores of one data set, and the same by class."""
    from sae_bench.evals.sparse_probing.main import run_eval_single_sae

    snapshot = measure.snapshot(sae).to(device=torch.device(model.device), dtype=model.dtype)
    seeds.set_fixed_seed(seed)
    one = copy.copy(config)
    one.dataset_names = [name]
    one.random_seed = seed  # SAEBench seeds Python and torch with it; all data are sampled already
    # The file of activations is mapped (copy-on-write), not read: it can be larger than memory.
    # No model object is passed: all it would compute lies in the folder.
    with quiet.sae_bench(), serialization.patch("load.mmap", True):  # type: ignore[attr-defined]
        results, per_class = run_eval_single_sae(
            one, snapshot, None, model.device, str(folder), save_activations=False
        )
    key = f"{name}_results"
    return results[key], per_class[key]


def _summary(scores: dict[str, float], k_values: list[int]) -> str:
    shown = {"all": "test", **{f"top {k}": f"top_{k}_test" for k in k_values}}
    return ", ".join(f"{label} {scores[f'sae_{key}_accuracy']:.3f}" for label, key in shown.items())


def _output(
    sae: Any,
    acts: TrainingActivations,
    config: Any,
    scores: dict[str, dict[str, float]],
    per_class: dict[str, Any],
) -> dict[str, Any]:
    """The keys of SAEBench's own output, plus what the runner's template adds in `results.write`."""
    from sae_bench.evals.sparse_probing.eval_output import (
        EVAL_TYPE_ID_SPARSE_PROBING,
        SparseProbingEvalOutput,
        SparseProbingLlmMetrics,
        SparseProbingMetricCategories,
        SparseProbingResultDetail,
        SparseProbingSaeMetrics,
    )

    mean = means(scores)
    output = SparseProbingEvalOutput(
        eval_config=config,
        eval_id=str(uuid.uuid4()),
        datetime_epoch_millis=int(time.time() * 1000),
        eval_result_metrics=SparseProbingMetricCategories(
            llm=SparseProbingLlmMetrics(**{k: v for k, v in mean.items() if k.startswith("llm_")}),
            sae=SparseProbingSaeMetrics(**{k: v for k, v in mean.items() if k.startswith("sae_")}),
        ),
        eval_result_details=[
            SparseProbingResultDetail(dataset_name=f"{name}_results", **result)
            for name, result in scores.items()
        ],
        eval_result_unstructured={f"{name}_results": found for name, found in per_class.items()},
        # SAEBench writes here the git commit of whatever folder it is started in; we say its version.
        sae_bench_commit_hash=f"sae-bench {metadata.version('sae-bench')}",
        sae_lens_id="custom_sae",
        sae_lens_release_id=f"{acts.model_name}_layer_{acts.layer}_sae",
        sae_lens_version=metadata.version("sae-lens"),
        sae_cfg_dict=sae.cfg.to_dict(),
    )
    return {"eval_type_id": EVAL_TYPE_ID_SPARSE_PROBING, **asdict(output)}
