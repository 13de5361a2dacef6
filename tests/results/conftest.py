"""Result files to check: the recordings' baseline rebuilt from its numbers, and a healthy one."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

# Accuracies of the language model's own probes in the recordings' baseline: with all activations, then
# with the best 1, 2, 5, 10, 20 and 50 of them.
KS = (1, 2, 5, 10, 20, 50)
MODEL_ACCURACIES = {
    "LabHC/bias_in_bios_class_set1": (0.9576, 0.6648, 0.6844, 0.7466, 0.8286, 0.8602, 0.9118),
    "LabHC/bias_in_bios_class_set2": (0.9386, 0.687, 0.7228, 0.7626, 0.806, 0.8484, 0.8892),
    "LabHC/bias_in_bios_class_set3": (0.9038, 0.68, 0.7066, 0.7432, 0.7984, 0.8174, 0.871),
    "canrager/amazon_reviews_mcauley_1and5": (
        0.8832,
        0.6068,
        0.6446,
        0.6818,
        0.7076,
        0.7714,
        0.8346,
    ),
    "canrager/amazon_reviews_mcauley_1and5_sentiment": (
        0.9255,
        0.629,
        0.685,
        0.737,
        0.766,
        0.8,
        0.854,
    ),
    "codeparrot/github-code": (0.969, 0.6644, 0.7016, 0.7836, 0.834, 0.894, 0.931),
    "fancyzhx/ag_news": (0.9375, 0.733, 0.7685, 0.8, 0.84575, 0.8865, 0.91225),
    "Helsinki-NLP/europarl": (0.9994, 0.8092, 0.895, 0.9422, 0.9816, 0.9936, 0.9984),
}


def accuracies(who: str, values: tuple[float, ...]) -> dict[str, float | None]:
    names = [f"{who}_test_accuracy", *(f"{who}_top_{k}_test_accuracy" for k in KS)]
    return {**dict(zip(names, values, strict=True)), f"{who}_top_100_test_accuracy": None}


def averages(rows: list[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(math.fsum(column) / len(rows) for column in zip(*rows, strict=True))


def sae_file(sae_accuracies: dict[str, tuple[float, ...]]) -> dict[str, Any]:
    """A sparse-probing file of the recordings' layout with the given SAE accuracies per data set."""
    details = [
        {"dataset_name": f"{name}_results"}
        | accuracies("llm", MODEL_ACCURACIES[name])
        | accuracies("sae", row)
        for name, row in sae_accuracies.items()
    ]
    return {
        "eval_type_id": "sparse_probing",
        "eval_config": {
            "random_seed": 42,
            "dataset_names": list(sae_accuracies),
            "probe_train_set_size": 4000,
            "probe_test_set_size": 1000,
            "context_length": 128,
            "sae_batch_size": 125,
            "llm_batch_size": 32,
            "llm_dtype": "bfloat16",
            "model_name": "google/gemma-2-2b",
            "k_values": list(KS),
            "lower_vram_usage": False,
        },
        "eval_id": "00000000-0000-4000-8000-000000000000",
        "datetime_epoch_millis": 1737147895673,
        "eval_result_metrics": {
            "llm": accuracies("llm", averages([MODEL_ACCURACIES[name] for name in sae_accuracies])),
            "sae": accuracies("sae", averages(list(sae_accuracies.values()))),
        },
        "eval_result_details": details,
        "sae_lens_id": "custom_sae",
        "sae_lens_release_id": "google/gemma-2-2b_layer_5_sae",
        "sae_cfg_dict": {
            "model_name": "google/gemma-2-2b",
            "d_in": 2304,
            "d_sae": 2304,
            "hook_layer": 5,
            "hook_name": "blocks.5.hook_resid_post",
            "dtype": "bfloat16",
            "training_tokens": -100000,
        },
        "eval_result_unstructured": None,
        "training_steps": 0,
        "final_loss": None,
        "layer": 19,
        "dict_size": 2304,
        "learning_rate": 0.0003,
        "sparsity_penalty": 0.04,
    }


@pytest.fixture
def untrained() -> dict[str, Any]:
    """The baseline that all five recordings were to be compared with: an SAE of which no step was trained."""
    return sae_file(dict.fromkeys(MODEL_ACCURACIES, (0.5,) * 7))


@pytest.fixture
def healthy() -> dict[str, Any]:
    """The same evaluation of an SAE that was trained, and on the layer that is evaluated."""
    rows = {
        name: tuple(round(0.97 * value - 0.01, 4) for value in row)
        for name, row in MODEL_ACCURACIES.items()
    }
    file = sae_file(rows)
    file["sae_cfg_dict"] |= {"d_sae": 9216, "training_tokens": 4_000_000}
    return copy.deepcopy(
        file
        | {
            "training_steps": 1953,
            "final_loss": 61.2,
            "layer": 5,
            "dict_size": 9216,
            "training": {"curves": {"loss": [180.0, 90.0, 64.0, 61.2]}},
            "l0": 48.5,
            "explained_variance": 0.81,
            "dead_features": 0.04,
            "model": {
                "requested": "google/gemma-2-2b",
                "granted": "google/gemma-2-2b",
                "reason": "",
            },
            "metrics": {"sae_test_accuracy": 0.9, "l0": 48.5},
        }
    )
