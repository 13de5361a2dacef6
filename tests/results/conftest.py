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


# Of the template's own small model and its baseline: all, then the best 1, 2, 5, 10 and 20.
EMBEDDED_KS = (1, 2, 5, 10, 20)
EMBEDDED = {
    "code_role": (
        (0.74286, 0.64643, 0.675, 0.68929, 0.67143, 0.67857),
        (0.73571, 0.60714, 0.58929, 0.62143, 0.64643, 0.70714),
    ),
    "document_kind": (
        (0.90714, 0.79464, 0.81518, 0.83661, 0.87321, 0.88482),
        (0.91786, 0.73661, 0.80625, 0.85536, 0.87143, 0.88036),
    ),
    "natural_language": (
        (0.96369, 0.86845, 0.88929, 0.91607, 0.93571, 0.96131),
        (0.97976, 0.87917, 0.89702, 0.89762, 0.92798, 0.95179),
    ),
    "programming_language": (
        (0.93095, 0.82143, 0.85476, 0.85298, 0.87202, 0.90714),
        (0.95179, 0.76369, 0.79583, 0.84762, 0.87619, 0.90476),
    ),
    "stdlib_topic": (
        (0.69071, 0.59357, 0.59214, 0.60786, 0.61071, 0.65786),
        (0.68, 0.56929, 0.59071, 0.62071, 0.63571, 0.63929),
    ),
}
EMBEDDED_UNTRAINED = {
    "sae_test_accuracy": 0.8587976135810216,
    "sae_top_1_test_accuracy": 0.6936666666666665,
    "sae_top_2_test_accuracy": 0.7319761904761904,
    "sae_top_5_test_accuracy": 0.7619642857142856,
    "sae_top_10_test_accuracy": 0.7928214285714287,
    "sae_top_20_test_accuracy": 0.8121071428571428,
    "l0": 50.29736328125,
    "explained_variance": 0.46519642439610986,
    "dead_features": 0.0,
}


def accuracies(who: str, values: tuple[float, ...], ks: tuple[int, ...]) -> dict[str, float | None]:
    names = [f"{who}_test_accuracy", *(f"{who}_top_{k}_test_accuracy" for k in ks)]
    return {**dict(zip(names, values, strict=True)), f"{who}_top_100_test_accuracy": None}


def averages(rows: list[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(math.fsum(column) / len(rows) for column in zip(*rows, strict=True))


def scores(
    llm: dict[str, tuple[float, ...]], sae: dict[str, tuple[float, ...]], ks: tuple[int, ...]
) -> dict[str, Any]:
    """SAEBench's means and details of the given accuracies per data set."""
    return {
        "eval_result_metrics": {
            "llm": accuracies("llm", averages([llm[name] for name in sae]), ks),
            "sae": accuracies("sae", averages(list(sae.values())), ks),
        },
        "eval_result_details": [
            {"dataset_name": f"{name}_results"}
            | accuracies("llm", llm[name], ks)
            | accuracies("sae", row, ks)
            for name, row in sae.items()
        ],
    }


def declare_metrics(file: dict[str, Any]) -> None:
    """`metrics` as the harness writes it: the means, and what was measured of the codes."""
    means = file["eval_result_metrics"]
    own = ("l0", "explained_variance", "dead_features", "final_loss")
    file["metrics"] = {
        name: value
        for name, value in {**means["sae"], **means["llm"], **{n: file[n] for n in own}}.items()
        if value is not None
    }


def sae_file(sae_accuracies: dict[str, tuple[float, ...]]) -> dict[str, Any]:
    """A sparse-probing file of the recordings' layout with the given SAE accuracies per data set."""
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
        **scores(MODEL_ACCURACIES, sae_accuracies, KS),
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
    file = copy.deepcopy(
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
            "device": "cuda",
            "smoke": False,
            "data": {"corpus": "monology/pile", "corpus_digest": "ab", "probing": {"ag": "cd"}},
            "integrity": {
                "parameters": 42476544,
                "non_finite": 0,
                "changed": 1.0,
                "relative_change": 0.43,
            },
            "untrained": {"sae_test_accuracy": 0.88, "explained_variance": 0.46},
        }
    )
    declare_metrics(file)
    return file


@pytest.fixture
def embedded() -> dict[str, Any]:
    """What the template's own baseline measured on its own small model: an honest result of small data sets.

    Its probing scores are hardly better than an untrained SAE's. `integrity` was made up.
    """
    evaluation = {
        "random_seed": 42,
        "dataset_names": list(EMBEDDED),
        "probe_train_set_size": 600,
        "probe_test_set_size": 280,
        "context_length": 64,
        "llm_dtype": "float32",
        "model_name": "embedded",
        "k_values": list(EMBEDDED_KS),
    }
    file = {
        "eval_type_id": "sparse_probing",
        "eval_config": evaluation,
        "eval_id": "4300869e-8eb1-47bb-873a-db2be7eed3bc",
        **scores(
            {name: rows[0] for name, rows in EMBEDDED.items()},
            {name: rows[1] for name, rows in EMBEDDED.items()},
            EMBEDDED_KS,
        ),
        "sae_lens_release_id": "embedded_layer_2_sae",
        "sae_cfg_dict": {
            "model_name": "embedded",
            "d_in": 128,
            "d_sae": 512,
            "hook_layer": 2,
            "hook_name": "blocks.2.hook_resid_post",
            "dtype": "float32",
            "device": "",
            "training_tokens": None,
        },
        "training_steps": 390,
        "final_loss": 11.413130760192871,
        "layer": 2,
        "dict_size": 512,
        "l0": 41.3790283203125,
        "explained_variance": 0.8581307987579172,
        "dead_features": 0.0,
        "model": {"requested": "google/gemma-2-2b", "granted": "embedded", "reason": "no GPU"},
        "device": "cpu",
        "smoke": False,
        "seed_offset": 0,
        "integrity": {
            "parameters": 131712,
            "non_finite": 0,
            "changed": 1.0,
            "relative_change": 0.61,
            "since": "first optimizer step",
        },
        "untrained": EMBEDDED_UNTRAINED,
        "training": {"curves": {"loss": [18.413333892822266, 14.2, 11.411, 11.413130760192871]}},
    }
    declare_metrics(file)
    return file
