"""Which language model a run gets, and loading it.

The runner decides before the run starts (AGENT_RUNNER_MODELS), also that a name gets no model at all. By
hand it is decided here: the model asked for if it can be used from this machine's own files, else the next
one in the order of template.toml. A replacement is always printed and recorded.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from harness import ROOT, events, quiet, seeds, settings, store
from harness.settings import ModelSettings

_BYTES_PER_WEIGHT = {"float32": 4, "bfloat16": 2, "float16": 2}
_LOAD_FACTOR = 1.5  # weights are held once more in part while loading, and activations come on top
# As transformers looks for them: one file, else the files that an index names.
_WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


class ModelRefused(LookupError):
    """No language model may be used for the name that the experiment asks for, and none in its place."""


@dataclass(frozen=True)
class LanguageModel:
    """The language model of this run: asked for, granted, and how it is run. Not loaded yet."""

    requested: str
    granted: str
    reason: str
    settings: ModelSettings
    device: str

    @property
    def layers(self) -> tuple[int, ...]:
        return self.settings.layers

    @property
    def d_model(self) -> int:
        return self.settings.d_model

    @property
    def dtype(self) -> torch.dtype:
        return getattr(torch, self.settings.dtype)  # type: ignore[no-any-return]

    def hook_name(self, layer: int) -> str:
        """The activations of a layer, by transformer_lens's name."""
        return self.settings.hook.format(layer=layer)

    @cached_property
    def digest(self) -> str:
        """Identifies the weights and the tokenizer."""
        folder = self.settings.folder or _snapshot(self.granted)
        if folder is None:
            return f"hub:{self.granted}"
        if self.settings.folder is None:
            return f"hub:{self.granted}@{folder.name}"  # a snapshot folder is named by its commit
        names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
        return store.digest_of_files(*(folder / n for n in names if (folder / n).is_file()))

    def activation_key(self, layer: int) -> dict[str, Any]:
        """All that the activations of a text depend on beside the text: part of every key in the store."""
        return {
            "model": self.digest,
            "hook": self.hook_name(layer),
            "layer": layer,
            "dtype": self.settings.dtype,
            "device": torch.device(self.device).type,
            "context_length": self.settings.context_length,
        }

    def record(self) -> dict[str, str]:
        return {"requested": self.requested, "granted": self.granted, "reason": self.reason}


def grant(requested: str, configs: Mapping[str, Mapping[str, Any]] | None = None) -> LanguageModel:
    """The model this run gets when it asks for `requested`.

    `configs` are the experiment's own settings by model name (batch_size, dtype, layers, d_model); they
    hold where the model asked for is the one granted.

    Raises:
        ModelRefused: no model can be used for this name.
        LookupError: the granted model has no settings anywhere.
        ValueError: AGENT_RUNNER_SEED_OFFSET is not a whole number (said here, before the long work).
    """
    offset = seeds.offset()
    configs = configs or {}
    known = settings.model_settings()
    granted, reason = _decided_by_runner(requested) or _decide(requested, known)
    own = dict(configs.get(granted, {})) if granted == requested else {}
    if granted in known:
        chosen = dataclasses.replace(known[granted], **_as_settings(own))
    elif own:
        chosen = settings.parse({"name": granted, **own})
    else:
        raise LookupError(
            f"no settings for the language model {granted!r}: neither template.toml "
            f"({', '.join(known)}) nor MODEL_CONFIGS ({', '.join(configs)}) has it"
        )
    device = "cuda:0" if settings.has_gpu() else "cpu"
    model = LanguageModel(requested, granted, reason, chosen, device)
    events.emit(model=model.record())
    events.emit(device=device)
    suffix = "" if granted == requested else f" instead of {requested}: {reason}"
    print(f"language model: {granted}{suffix}\ndevice: {device}", flush=True)
    if offset:
        print(f"seeds of training and scoring: moved by {offset}", flush=True)
    return model


def _as_settings(own: Mapping[str, Any]) -> dict[str, Any]:
    names = {"batch_size", "dtype", "layers", "d_model"}
    return {k: tuple(v) if k == "layers" else v for k, v in own.items() if k in names}


def _decided_by_runner(requested: str) -> tuple[str, str] | None:
    table = json.loads(os.environ.get("AGENT_RUNNER_MODELS") or "{}")
    answer = table.get(requested) or table.get("*")
    if not answer:
        return None
    if answer["granted"] is None:
        available = dict.fromkeys(use["granted"] for use in table.values() if use["granted"])
        raise _refused(
            requested, answer.get("reason", ""), answer.get("remedy", ""), list(available)
        )
    return answer["granted"], answer.get("reason", "")


def _refused(requested: str, reason: str, remedy: str, available: list[str]) -> ModelRefused:
    """The error to raise; the runner is told what it says."""
    refusal = {"requested": requested, "reason": reason, "remedy": remedy, "available": available}
    events.emit(model_refused=refusal)
    sentences = [f"the language model {requested!r} cannot be used here"]
    if reason:
        sentences[0] += f": {reason}"
    if remedy:
        sentences.append(f"What a person can do: {remedy}")
    sentences.append(f"Models that this run can use: {', '.join(available) or 'none'}")
    return ModelRefused(" ".join(f"{sentence.rstrip('. ')}." for sentence in sentences))


def _decide(requested: str, known: Mapping[str, ModelSettings]) -> tuple[str, str]:
    reason = _obstacle(requested, known.get(requested))
    if reason is None:
        return requested, ""
    for name, candidate in known.items():
        if name != requested and _obstacle(name, candidate) is None:
            return name, reason
    remedy = "download a model of template.toml that fits, or restore the template's own folder"
    raise _refused(requested, reason, remedy, [])


def _obstacle(name: str, spec: ModelSettings | None) -> str | None:
    """Why a model cannot be used from this machine's own files, None if it can."""
    if spec is not None and spec.folder is not None:
        present = (spec.folder / "config.json").is_file()
        return None if present else f"its folder {spec.path} is missing from the template"
    if spec is not None and spec.needs_gpu and not settings.has_gpu():
        return "it needs a GPU, and there is none here"
    if _snapshot(name) is None:
        return "it is not in this machine's Hugging Face cache, or not all of its files are"
    needed = 0 if spec is None else spec.parameters * _BYTES_PER_WEIGHT.get(spec.dtype, 4)
    free = None if settings.has_gpu() else _available_memory()
    if free is not None and needed * _LOAD_FACTOR > free:
        return (
            f"it needs about {needed * _LOAD_FACTOR / 2**30:.1f} GiB of memory to load, "
            f"and {free / 2**30:.1f} GiB are free"
        )
    return None


def _snapshot(name: str) -> Path | None:
    """The folder of a model in the local Hugging Face cache, by the rules of `huggingface_hub`.

    None where it is not there, or a file of it is missing (a download that was broken off).
    """
    home = os.environ.get("HF_HOME") or "~/.cache/huggingface"
    hub = Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()
    folder = hub / f"models--{name.replace('/', '--')}"
    with contextlib.suppress(OSError):
        commit = (folder / "refs" / "main").read_text().strip()
        snapshot = folder / "snapshots" / commit
        if (snapshot / "config.json").is_file() and _has_weights(snapshot):
            return snapshot
    return None


def _has_weights(snapshot: Path) -> bool:
    """Whether all weights are there: one file, or every file that an index names."""
    for name in _WEIGHT_FILES:
        index = snapshot / f"{name}.index.json"
        if (snapshot / name).is_file():
            return True
        if index.is_file():
            with contextlib.suppress(OSError, ValueError, KeyError, AttributeError):
                parts = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
                return bool(parts) and all((snapshot / part).is_file() for part in parts)
            return False
    return False


def _available_memory() -> int | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def load(model: LanguageModel) -> Any:
    """The model as a `HookedTransformer` with its tokenizer, weights unprocessed.

    Raises:
        ValueError: the model's width is not the one its settings say.
    """
    events.phase("model load")
    print(f"loading {model.granted} ({model.settings.dtype})", flush=True)
    with quiet.sae_bench():
        loaded = _load_hub(model) if model.settings.folder is None else _load_folder(model)
    if loaded.cfg.d_model != model.d_model:
        raise ValueError(
            f"{model.granted} has d_model {loaded.cfg.d_model}, but its settings say {model.d_model}; "
            "correct d_model in MODEL_CONFIGS or template.toml"
        )
    return loaded.eval()


def _load_hub(model: LanguageModel) -> Any:
    from transformer_lens import HookedTransformer

    with _as_granted():
        return HookedTransformer.from_pretrained_no_processing(
            model.granted, device=model.device, dtype=model.dtype
        )


@contextlib.contextmanager
def _as_granted() -> Iterator[None]:
    """What is on this machine was granted; a step with network would see what is newer on the hub."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _load_folder(model: LanguageModel) -> Any:
    """A model from a folder, by the functions that `from_pretrained` is made of.

    `from_pretrained` itself refuses every name outside its own table.
    """
    from transformer_lens import HookedTransformer
    from transformer_lens.loading_from_pretrained import (
        get_pretrained_model_config,
        get_pretrained_state_dict,
    )
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = str(model.settings.path)
    # A relative name: these functions take "gemma" or "llama" anywhere in the path for the architecture.
    with contextlib.chdir(ROOT):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        weights = AutoModelForCausalLM.from_pretrained(folder, dtype=model.dtype)
        cfg = get_pretrained_model_config(folder, device=model.device, dtype=model.dtype)
        state = get_pretrained_state_dict(folder, cfg, hf_model=weights, dtype=model.dtype)
        cfg.tokenizer_name = None
        loaded = HookedTransformer(cfg, tokenizer, default_padding_side="right")
    loaded.load_and_process_state_dict(
        state,
        fold_ln=False,
        center_writing_weights=False,
        center_unembed=False,
        fold_value_biases=False,
    )
    return loaded.to(model.device)
