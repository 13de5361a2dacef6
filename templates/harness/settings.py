"""What template.toml says about a language model: how to run it, and how much data to use."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def model_settings(*, smoke: bool | None = None) -> dict[str, ModelSettings]:
    """The models of template.toml by name, in order of preference."""
    smoke = is_smoke() if smoke is None else smoke
    small = SETTINGS.get("smoke", {}).get("settings", {}) if smoke else {}
    return {entry["name"]: parse({**entry, **small}) for entry in SETTINGS["models"]}


def parse(entry: Mapping[str, Any]) -> ModelSettings:
    """Settings from a table, lists as tuples.

    Raises:
        ValueError: an unknown field (a typing mistake in template.toml would else pass unseen).
    """
    known = {field.name for field in dataclasses.fields(ModelSettings)}
    if unknown := set(entry) - known:
        raise ValueError(
            f"template.toml, model {entry.get('name')!r}: unknown fields {sorted(unknown)}; "
            f"known are {sorted(known)}"
        )
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
    return ModelSettings(**fields)
