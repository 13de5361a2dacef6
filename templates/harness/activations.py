"""The activations an SAE is trained on: tokens of a corpus through the language model, one layer, stored.

Shapes: a stored array is (tokens, d_model), in the language model's dtype. Batches come out in float32,
since an SAE is trained in float32 whatever the language model runs in.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import data, events, models, seeds, store
from harness.models import LanguageModel
from harness.seeds import EVALUATION_SEED

_KIND = "training_activations"
_SOURCE = "source.json"  # of which text they are
_HELD_OUT_EVERY = 10  # of ten documents one is held out, until there are enough
_DOCUMENTS_AT_ONCE = 256  # tokenized together


class TrainingActivations:
    """Activations of one layer, memory-mapped; with the part that no SAE is trained on.

    source: `corpus`, the name of the text really used, and `corpus_digest`, SHA-256 over what was read of it.
    entry: the name of the store's entry, which stands for all that the activations depend on.
    """

    def __init__(
        self,
        model: LanguageModel,
        layer: int,
        train: torch.Tensor,
        held_out: torch.Tensor,
        *,
        source: Mapping[str, str],
        entry: str,
    ):
        self.language_model = model
        self.layer = layer
        self.hook_name = model.hook_name(layer)
        self.model_name = model.granted
        self.d_model = train.shape[1]
        self.device = model.device
        self.num_tokens = model.settings.training_tokens  # to train on; may be several epochs
        self.source = dict(source)
        self.entry = entry
        self._train = train
        self._held_out = held_out

    @property
    def distinct_tokens(self) -> int:
        """How many different tokens there are to train on."""
        return len(self._train)

    def batches(self, batch_size: int, steps: int, seed: int) -> Iterator[torch.Tensor]:
        """`steps` batches (batch_size, d_model) in float32: every token once, in a new order each epoch.

        The order is drawn with `seed` plus this run's seed offset.
        """
        events.phase("training")
        order = _epochs(len(self._train), seeds.moved(seed))
        for _ in range(steps):
            yield self._batch(order, batch_size)

    def first_batch(self, batch_size: int, seed: int) -> torch.Tensor:
        """The first of `batches` with this seed, without the offset."""
        return self._batch(_epochs(len(self._train), seed), batch_size)

    def _batch(self, order: Iterator[int], size: int) -> torch.Tensor:
        picked = torch.from_numpy(np.fromiter(itertools.islice(order, size), dtype=np.int64))
        return self._train[picked].to(self.device, torch.float32)

    def held_out(self) -> torch.Tensor:
        """Tokens of documents that are not trained on, (held_out_tokens, d_model) in float32."""
        return self._held_out.to(self.device, torch.float32)


def _epochs(size: int, seed: int) -> Iterator[int]:
    random = np.random.default_rng(seed)
    while True:
        yield from random.permutation(size)


def training_activations(model: LanguageModel, layer: int) -> TrainingActivations:
    """The activations of `layer`, from the store or computed now.

    Text of the hub that is in the store is used wherever the run is; else it must be readable from here, or
    the template's own text takes its place.

    Raises:
        ValueError: the model has no such layer in its settings' range.
    """
    s = model.settings
    events.phase("data")
    corpus = s.corpus
    if not store.holds(_KIND, _key(model, layer, corpus)):
        corpus = data.readable_corpus(corpus)
    size = (s.distinct_tokens + s.held_out_tokens) * s.d_model * model.dtype.itemsize
    folder = store.entry(
        _KIND,
        _key(model, layer, corpus),
        lambda to: _compute(model, layer, corpus, to),
        size=size,
    )
    train, held_out = (_read(folder / f"{part}.npy", model.dtype) for part in ("train", "held_out"))
    source = json.loads((folder / _SOURCE).read_text(encoding="utf-8"))
    print(
        f"activations: {len(train)} tokens of {model.hook_name(layer)}, {len(held_out)} held out",
        flush=True,
    )
    return TrainingActivations(model, layer, train, held_out, source=source, entry=folder.name)


def _key(model: LanguageModel, layer: int, corpus: str) -> dict[str, Any]:
    return {
        **model.activation_key(layer),
        "corpus": data.corpus_key(corpus),
        "distinct_tokens": model.settings.distinct_tokens,
        "held_out_tokens": model.settings.held_out_tokens,
        "seed": EVALUATION_SEED,
    }


def _read(path: Path, dtype: torch.dtype) -> torch.Tensor:
    """Memory-mapped; copy-on-write, so that nothing done to the tensor reaches the file."""
    return torch.from_numpy(np.load(path, mmap_mode="c")).view(dtype)


def _numpy_dtype(dtype: torch.dtype) -> str:
    """numpy has no bfloat16: two-byte kinds are stored as bit patterns."""
    return {4: "float32", 2: "int16"}[dtype.itemsize]


def _compute(model: LanguageModel, layer: int, corpus: str, to: Path) -> None:
    loaded = models.load(model)
    if not 0 <= layer < loaded.cfg.n_layers:
        raise ValueError(f"{model.granted} has layers 0 to {loaded.cfg.n_layers - 1}, not {layer}")
    events.phase("data")
    s = model.settings
    wanted = {"held_out": s.held_out_tokens, "train": s.distinct_tokens}
    digest = hashlib.sha256()
    documents = data.digested(data.corpus(corpus, EVALUATION_SEED), digest.update)
    streams = _split(documents, held_out=wanted["held_out"] > 0)
    for part, count in wanted.items():
        out = np.lib.format.open_memmap(  # type: ignore[no-untyped-call]
            to / f"{part}.npy.part", "w+", _numpy_dtype(model.dtype), (count, s.d_model)
        )
        filled = 0
        for rows in _activations(loaded, model, layer, streams[part]):
            rows = rows[: count - filled]
            out[filled : filled + len(rows)] = rows.view(_torch_storage(model.dtype)).numpy()
            filled += len(rows)
            if filled == count:
                break
        _finish(out, filled, to / f"{part}.npy", part, count)
    source = {"corpus": corpus, "corpus_digest": digest.hexdigest()}
    (to / _SOURCE).write_text(json.dumps(source), encoding="utf-8")


def _finish(out: np.memmap[Any, Any], filled: int, path: Path, part: str, count: int) -> None:
    if filled < count:
        if filled == 0:
            raise ValueError(f"the corpus gave no {part} tokens at all")
        events.warn("corpus-short", f"the corpus gave {filled} {part} tokens of {count}")
        np.save(path, out[:filled])
        Path(str(out.filename)).unlink()
    else:
        out.flush()
        Path(str(out.filename)).rename(path)


def _torch_storage(dtype: torch.dtype) -> torch.dtype:
    return {4: torch.float32, 2: torch.int16}[dtype.itemsize]


def _split(documents: Iterator[str], *, held_out: bool) -> dict[str, Iterator[str]]:
    """Every tenth document is held out; the same documents never serve both."""
    first, second = itertools.tee(documents)
    is_held_out = itertools.cycle([held_out] + [False] * (_HELD_OUT_EVERY - 1))
    is_train = itertools.cycle([not held_out] + [True] * (_HELD_OUT_EVERY - 1))
    return {
        "held_out": itertools.compress(first, is_held_out),
        "train": itertools.compress(second, is_train),
    }


def contexts(tokenizer: Any, documents: Iterator[str], length: int) -> Iterator[list[int]]:
    """Documents as token ids, joined by the end-of-text token and cut into contexts of `length`.

    Each context begins with the begin-of-text token where the tokenizer adds one to a text.
    """
    start = [tokenizer.bos_token_id] if _adds_bos(tokenizer) else []
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    room = length - len(start)
    pending: list[int] = []
    while texts := list(itertools.islice(documents, _DOCUMENTS_AT_ONCE)):
        for ids in tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]:
            pending += ids + end
        whole = len(pending) // room * room
        for i in range(0, whole, room):
            yield start + pending[i : i + room]
        pending = pending[whole:]


def _adds_bos(tokenizer: Any) -> bool:
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id


@torch.no_grad()
def _activations(
    loaded: Any, model: LanguageModel, layer: int, documents: Iterator[str]
) -> Iterator[torch.Tensor]:
    """(tokens, d_model) pieces on the CPU, without the positions of special tokens."""
    tokenizer, hook = loaded.tokenizer, model.hook_name(layer)
    special = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id} - {None}
    special_ids = torch.tensor(sorted(special), device=model.device)
    stream = contexts(tokenizer, documents, model.settings.context_length)
    while batch := list(itertools.islice(stream, model.settings.batch_size)):
        tokens = torch.tensor(batch, device=model.device)
        _, cache = loaded.run_with_cache(tokens, stop_at_layer=layer + 1, names_filter=hook)
        keep = ~torch.isin(tokens, special_ids)
        yield cache[hook][keep].to("cpu", model.dtype).contiguous()
