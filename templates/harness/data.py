"""Texts: the corpus an SAE's training activations come from, and the labelled sets of sparse probing."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness import ROOT, events, store
from harness.seeds import EVALUATION_SEED
from harness.settings import ModelSettings

FALLBACK_CORPUS = "embedded/corpus.jsonl.gz"

Texts = dict[str, list[str]]  # class -> texts


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a gzipped JSON-lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def readable_corpus(name: str) -> str:
    """The corpus to read: the one named, or FALLBACK_CORPUS where that is of the hub and cannot be read."""
    if _is_file(name):
        return name
    try:
        _open_hub(name)
    except OSError as error:  # offline, or no such data set: both are OSErrors there
        events.warn(
            "corpus-replaced",
            f"the training text {name} cannot be read here ({type(error).__name__}); "
            f"using the template's own {FALLBACK_CORPUS}",
        )
        return FALLBACK_CORPUS
    return name


def corpus_key(name: str) -> str:
    """Identifies a corpus in the store's keys: by its content, one of the hub by its name."""
    return store.digest_of_files(ROOT / name) if _is_file(name) else f"hub:{name}"


def corpus(name: str, seed: int) -> Iterator[str]:
    """Documents in a fixed order: of a file of the template, shuffled, or of the hub, as they are streamed.

    Raises:
        OSError: it cannot be read.
    """
    if _is_file(name):
        yield from _shuffled(ROOT / name, seed)
        return
    for document in _open_hub(name):
        yield document["text"]


def digested(texts: Iterator[str], update: Callable[[bytes], None]) -> Iterator[str]:
    """The texts as they are read; each is also given, with its length, to a hash's `update`."""
    for text in texts:
        update(_with_length(text))
        yield text


def _with_length(text: str) -> bytes:
    content = text.encode("utf-8", "surrogatepass")
    return len(content).to_bytes(8, "little") + content


def texts_digest(*splits: Texts) -> str:
    """SHA-256 over classes and texts, in their order."""
    digest = hashlib.sha256()
    for split in splits:
        for label, texts in split.items():
            for text in (label, str(len(texts)), *texts):
                digest.update(_with_length(text))
    return digest.hexdigest()


def _is_file(corpus: str) -> bool:
    return corpus.endswith(".gz")


def _open_hub(name: str) -> Any:
    from datasets import load_dataset

    return load_dataset(name, split="train", streaming=True)


def _shuffled(path: Path, seed: int) -> Iterator[str]:
    texts = [document["text"] for document in read_jsonl(path)]
    random.Random(seed).shuffle(texts)
    yield from texts


def dataset_names(settings: ModelSettings) -> list[str]:
    """The probing sets of a model: names SAEBench knows, or the files of a folder of the template."""
    if isinstance(settings.datasets, str):
        files = sorted((ROOT / settings.datasets).glob("*.jsonl.gz"))
        names = [path.name.removesuffix(".jsonl.gz") for path in files]
    else:
        names = list(settings.datasets)
    if not names:
        raise FileNotFoundError(f"no probing data sets for {settings.name} ({settings.datasets})")
    return names[: settings.max_datasets]


def dataset_digest(settings: ModelSettings, name: str) -> str:
    """Identifies a probing set. Sets of the hub: by name, with SAEBench's version in every key."""
    if isinstance(settings.datasets, str):
        return store.digest_of_files(ROOT / settings.datasets / f"{name}.jsonl.gz")
    return f"hub:{name}"


def probing_texts(settings: ModelSettings, name: str) -> tuple[Texts, Texts]:
    """Train and test texts of a probing set, by class, equally many of each class.

    Raises:
        ValueError: a set of the template has fewer texts than the settings ask for.
    """
    if not isinstance(settings.datasets, str):
        return _sae_bench_texts(settings, name)
    texts: dict[str, Texts] = {"train": defaultdict(list), "test": defaultdict(list)}
    for line in read_jsonl(ROOT / settings.datasets / f"{name}.jsonl.gz"):
        texts[line["split"]][line["label"]].append(line["text"])
    sizes = {"train": settings.probe_train_set_size // 2, "test": settings.probe_test_set_size // 2}
    chosen: dict[str, Texts] = {"train": {}, "test": {}}
    for split, wanted in sizes.items():
        for label in sorted(texts["train"]):
            found = texts[split][label]
            if len(found) < wanted:
                raise ValueError(
                    f"probing set {name}: class {label!r} has {len(found)} {split} texts, {wanted} are needed"
                )
            order = random.Random(f"{EVALUATION_SEED} {name} {split} {label}")
            chosen[split][label] = order.sample(found, wanted)
    return chosen["train"], chosen["test"]


def _sae_bench_texts(settings: ModelSettings, name: str) -> tuple[Texts, Texts]:
    from sae_bench.sae_bench_utils import dataset_info, dataset_utils

    train, test = dataset_utils.get_multi_label_train_test_data(
        name, settings.probe_train_set_size, settings.probe_test_set_size, EVALUATION_SEED
    )
    classes = dataset_info.chosen_classes_per_dataset[name]
    return dataset_utils.filter_dataset(train, classes), dataset_utils.filter_dataset(test, classes)
