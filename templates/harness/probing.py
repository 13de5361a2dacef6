"""The inputs of sparse probing that do not depend on the SAE, in the files SAEBench looks for.

SAEBench keeps per data set a file with the language model's activations, (texts, context_length, d_model)
by class, and the scores of probes trained on them. It takes whatever file has the right name, so the files
lie in a folder that is addressed by everything they depend on (`harness.store`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from harness import data, events, models, quiet, seeds, store
from harness.models import LanguageModel

_DIGEST = "texts.sha256"


def artifacts(model: LanguageModel, layer: int) -> dict[str, Path]:
    """For every probing data set the folder with its file, computed now where the store lacks it."""
    loaded: list[Any] = []

    def language_model() -> Any:
        if not loaded:
            loaded.append(models.load(model))
            events.phase("evaluation")
        return loaded[0]

    names = data.dataset_names(model.settings)
    return {name: _artifact(model, layer, name, language_model) for name in names}


def digests(model: LanguageModel, layer: int) -> dict[str, str]:
    """By probing data set, SHA-256 over the texts and classes really used."""
    return {
        name: (folder / _DIGEST).read_text(encoding="utf-8")
        for name, folder in artifacts(model, layer).items()
    }


def file_name(dataset: str) -> str:
    """The name SAEBench looks for."""
    return f"{dataset}_activations.pt".replace("/", "_")


def _artifact(model: LanguageModel, layer: int, name: str, load: Callable[[], Any]) -> Path:
    s = model.settings
    key = {
        **model.activation_key(layer),
        "dataset": name,
        "dataset_digest": data.dataset_digest(s, name),
        "llm_batch_size": s.batch_size,
        "probe_train_set_size": s.probe_train_set_size,
        "probe_test_set_size": s.probe_test_set_size,
        "k_values": list(s.k_values),
        "seed": seeds.EVALUATION_SEED,
    }
    texts = (s.probe_train_set_size + s.probe_test_set_size) // 2 * 5  # at most five classes
    size = texts * s.context_length * s.d_model * model.dtype.itemsize
    return store.entry(
        "probing", key, lambda to: _compute(model, layer, name, load(), to), size=size
    )


def _compute(model: LanguageModel, layer: int, name: str, loaded: Any, to: Path) -> None:
    from sae_bench.sae_bench_utils import activation_collection, dataset_utils

    print(f"probing inputs: {name}", flush=True)
    s = model.settings
    seeds.set_fixed_seed(seeds.EVALUATION_SEED)
    acts = {}
    train_and_test = data.probing_texts(s, name)
    for split, texts in zip(("train", "test"), train_and_test, strict=True):
        with quiet.sae_bench():
            tokens = dataset_utils.tokenize_data_dictionary(
                texts, loaded.tokenizer, s.context_length, model.device
            )
            acts[split] = activation_collection.get_all_llm_activations(
                tokens,
                loaded,
                s.batch_size,
                layer,
                model.hook_name(layer),
                mask_bos_pad_eos_tokens=True,
            )
    scores = _language_model_probes(acts["train"], acts["test"], s.k_values)
    torch.save({**acts, "llm_results": scores}, to / file_name(name))
    (to / _DIGEST).write_text(data.texts_digest(*train_and_test), encoding="utf-8")


def _language_model_probes(
    train: dict[str, torch.Tensor], test: dict[str, torch.Tensor], k_values: tuple[int, ...]
) -> dict[str, dict[str, float]]:
    """Scores of probes on the language model's own activations, by metric and class.

    The same calls with the same arguments as in SAEBench's `run_eval_single_dataset`.
    """
    from sae_bench.evals.sparse_probing import probe_training
    from sae_bench.sae_bench_utils import activation_collection

    seeds.set_fixed_seed(seeds.EVALUATION_SEED)
    mean_train = activation_collection.create_meaned_model_activations(train)
    mean_test = activation_collection.create_meaned_model_activations(test)
    with quiet.sae_bench():
        _, full = probe_training.train_probe_on_activations(
            mean_train,
            mean_test,
            select_top_k=None,
            use_sklearn=False,
            batch_size=250,
            epochs=100,
            lr=1e-2,
        )
        scores = {"llm_test_accuracy": full}
        for k in k_values:
            _, scores[f"llm_top_{k}_test_accuracy"] = probe_training.train_probe_on_activations(
                mean_train, mean_test, select_top_k=k
            )
    return scores
