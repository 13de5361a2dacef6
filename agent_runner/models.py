"""Which language models can be used on this machine now, and what a run gets instead of the others.

Decided before a run starts, so that a gated, missing or too large model never costs one. The agent's file
is not touched: the template's harness is told, per requested name, which model it was granted and why.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_runner.records import ModelSpec, ModelUse

ANY_OTHER = "*"  # the key that answers for every name the template does not list

_BYTES_PER_WEIGHT = {"float32": 4, "bfloat16": 2, "float16": 2}
_WEIGHT_FILES = ("*.safetensors", "*.bin")
# Loading holds the weights once more for a moment in part, and activations come on top.
_LOAD_FACTOR = 1.5


@dataclass(frozen=True)
class Machine:
    """What decides whether a model can be used: the hub cache, free memory, and whether runs have network."""

    hub_cache: Path
    free_memory_bytes: int | None
    network: bool = False

    @classmethod
    def here(cls, *, network: bool) -> Machine:
        return cls(hub_cache(os.environ), available_memory(), network)


def hub_cache(environment: Mapping[str, str]) -> Path:
    """The Hugging Face cache folder, by the rules of `huggingface_hub`."""
    if folder := environment.get("HF_HUB_CACHE"):
        return Path(folder).expanduser()
    home = environment.get("HF_HOME") or "~/.cache/huggingface"
    return Path(home).expanduser() / "hub"


def available_memory() -> int | None:
    """Bytes of host memory that can be taken without swapping (`MemAvailable`); None where unknown."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def grant(models: Sequence[ModelSpec], template: Path, machine: Machine) -> dict[str, ModelUse]:
    """For every model the template names, and `*`: which one a run gets.

    The order of `models` is the order of preference. A model that cannot be used is replaced by the first
    one that can; `reason` says why. Empty where the template names no models, or none can be used.
    """
    reasons = obstacles(models, template, machine)
    usable = [model.name for model in models if model.name not in reasons]
    if not usable:
        return {}
    granted: dict[str, ModelUse] = {}
    for name in (model.name for model in models):
        granted[name] = (
            ModelUse(requested=name, granted=usable[0], reason=reasons[name])
            if name in reasons
            else ModelUse(requested=name, granted=name)
        )
    granted[ANY_OTHER] = ModelUse(
        requested=ANY_OTHER,
        granted=usable[0],
        reason=f"not among the models of this template ({', '.join(model.name for model in models)})",
    )
    return granted


def obstacles(models: Sequence[ModelSpec], template: Path, machine: Machine) -> dict[str, str]:
    """Why each model that cannot be used cannot be used."""
    reasons = {model.name: _obstacle(model, template, machine) for model in models}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _obstacle(model: ModelSpec, template: Path, machine: Machine) -> str | None:
    if model.path is not None:
        present = (template / model.path / "config.json").is_file()
        return None if present else f"its folder {model.path} is missing from the template"
    if not _is_cached(model.name, machine.hub_cache) and not machine.network:
        return (
            "it is not in this machine's model cache and runs have no network "
            "(a person can download it first; a gated model also needs its licence accepted and a token)"
        )
    needed = int(model.parameters * _BYTES_PER_WEIGHT.get(model.dtype, 4) * _LOAD_FACTOR)
    free = machine.free_memory_bytes
    if free is not None and needed > free:
        return (
            f"it needs about {needed / 2**30:.1f} GiB of memory to load "
            f"({model.parameters / 1e9:.1f} billion weights in {model.dtype}), "
            f"and {free / 2**30:.1f} GiB are free"
        )
    return None


def _is_cached(name: str, cache: Path) -> bool:
    """A snapshot with both a configuration and weights (a half-finished download has no weights)."""
    snapshots = cache / f"models--{name.replace('/', '--')}" / "snapshots"
    return any(
        any(any(config.parent.glob(pattern)) for pattern in _WEIGHT_FILES)
        for config in snapshots.glob("*/config.json")
    )
