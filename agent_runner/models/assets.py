"""The models and data sets of the hub that a template names in its `[[models]]`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from agent_runner.records import ModelSpec

Kind = Literal["model", "dataset"]

# As `huggingface_hub` checks it; the first part is a user or an organization.
_REPOSITORY = re.compile(r"(?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9_])?")
# SAEBench names parts of a data set by adding to its name (sae_bench_utils/dataset_utils.py).
_PART = re.compile(
    r"(?<=/bias_in_bios)_class_set\d+$|(?<=/amazon_reviews_mcauley_1and5)_sentiment$"
)
_FILE_ENDINGS = (
    *(".py", ".json", ".jsonl", ".txt", ".csv", ".parquet", ".pt", ".npy", ".npz", ".pkl", ".md"),
    *(".safetensors", ".bin", ".gz", ".toml", ".yaml", ".yml", ".log", ".png", ".git", ".zst"),
)


@dataclass(frozen=True)
class Asset:
    """A model or data set, and where it is named."""

    kind: Kind
    name: str
    file: str | None = None
    line: int | None = None


def template_assets(specs: Sequence[ModelSpec]) -> tuple[Asset, ...]:
    """The models that a template names, in its order, then the data sets of the hub that these need."""
    found = dict.fromkeys(Asset("model", spec.name) for spec in specs)
    for spec in specs:
        found |= dict.fromkeys(Asset("dataset", name) for name in hub_datasets(spec))
    return tuple(found)


def hub_datasets(spec: ModelSpec) -> tuple[str, ...]:
    """The data sets of the hub that a model is trained and scored on; what lies in the template is none.

    A part of a data set, as SAEBench names them, stands for the whole of it.
    """
    if spec.path is not None:
        return ()  # a model shipped with the template brings its data along
    named = (spec.datasets,) if isinstance(spec.datasets, str) else spec.datasets
    names = (_PART.sub("", name) for name in (spec.corpus, *named))
    return tuple(dict.fromkeys(name for name in names if "/" in name and is_repository(name)))


def is_repository(name: str) -> bool:
    """Whether a text can be the name of a repository on the hub, and is not plainly that of a file."""
    return (
        _REPOSITORY.fullmatch(name) is not None
        and ".." not in name
        and "--" not in name
        and not name.lower().endswith(_FILE_ENDINGS)
    )


def unique(assets: Iterable[Asset]) -> tuple[tuple[Kind, str], ...]:
    """Each kind and name once, in order."""
    return tuple(dict.fromkeys((asset.kind, asset.name) for asset in assets))
