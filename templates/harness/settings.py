"""What template.toml says about a language model: how to run it, and how much data to use."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness import ROOT, SETTINGS


@dataclass(frozen=True)
class ModelSettings:
    """One [[models]] entry of template.toml. Sizes are in tokens, probe sizes in texts.

    Probe sizes count as SAEBench counts them: half of a set is the class itself, half the other classes.
    """

    name: str
    d_model: int
    layers: tuple[int, ...]
    dtype: str = "float32"
    batch_size: int = 32
    hook: str = "blocks.{layer}.hook_resid_post"
    parameters: int = 0
    path: str | None = None
    needs_gpu: bool = False
    corpus: str = "embedded/corpus.jsonl.gz"
    context_length: int = 128
    training_tokens: int = 1_000_000
    distinct_tokens: int = 1_000_000
    held_out_tokens: int = 8192
    probe_train_set_size: int = 4000
    probe_test_set_size: int = 1000
    sae_batch_size: int = 125
    k_values: tuple[int, ...] = (1, 2, 5, 10, 20, 50)
    datasets: str | tuple[str, ...] = "embedded/datasets"
    max_datasets: int | None = None

    @property
    def folder(self) -> Path | None:
        """Where a model that is shipped with the template lies."""
        return None if self.path is None else ROOT / self.path


def is_smoke() -> bool:
    """Whether this is the quick check of all phases on tiny sizes."""
    return os.environ.get("AGENT_RUNNER_SMOKE") == "1"


def has_gpu() -> bool:
    """Whether torch sees a GPU that it can use."""
    return torch.cuda.is_available()


def model_settings(*, smoke: bool | None = None) -> dict[str, ModelSettings]:
    """The models of template.toml by name, in order of preference, as they are run here.

    Without a GPU the entry's own `cpu` table goes before the rest of it. Smoke sizes go before both.

    Raises:
        ValueError: an unknown field, also in a `cpu` table that does not apply here.
    """
    smoke = is_smoke() if smoke is None else smoke
    small = SETTINGS.get("smoke", {}).get("settings", {}) if smoke else {}
    return {entry["name"]: parse(_here(entry) | small) for entry in SETTINGS["models"]}


def _here(entry: Mapping[str, Any]) -> dict[str, Any]:
    usual = {name: value for name, value in entry.items() if name != "cpu"}
    on_cpu = entry.get("cpu", {})
    _refuse_unknown(on_cpu, f"model {entry.get('name')!r}, cpu", _FIELDS - _NOT_OF_CPU)
    return usual if has_gpu() else {**usual, **on_cpu}


def parse(entry: Mapping[str, Any]) -> ModelSettings:
    """Settings from a table, lists as tuples.

    Raises:
        ValueError: an unknown field (a typing mistake in template.toml would else pass unseen).
    """
    _refuse_unknown(entry, f"model {entry.get('name')!r}", _FIELDS)
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
    return ModelSettings(**fields)


_FIELDS = frozenset(field.name for field in dataclasses.fields(ModelSettings))
_NOT_OF_CPU = frozenset({"name", "path", "needs_gpu", "parameters", "d_model"})  # what a model is


def _refuse_unknown(table: Mapping[str, Any], where: str, known: frozenset[str]) -> None:
    if unknown := set(table) - known:
        raise ValueError(
            f"template.toml, {where}: unknown fields {sorted(unknown)}; known are {sorted(known)}"
        )
