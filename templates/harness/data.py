"""Texts: the corpus an SAE's training activations come from, and the labelled sets of sparse probing."""

from __future__ import annotations

import gzip
import json
import random
from collections import defaultdict
from collections.abc import Iterator
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


def corpus_digest(settings: ModelSettings) -> str:
    """Identifies the text training activations come from."""
    if settings.corpus.endswith(".gz"):
        return store.digest_of_files(ROOT / settings.corpus)
    return f"hub:{settings.corpus}"


def corpus(settings: ModelSettings, seed: int) -> Iterator[str]:
    """Documents in a fixed shuffled order: a file of the template, or a data set of the hub, streamed."""
    path = ROOT / settings.corpus
    if settings.corpus.endswith(".gz"):
        yield from _shuffled(path, seed)
        return
    try:
        from datasets import load_dataset

        stream = load_dataset(settings.corpus, split="train", streaming=True)
    except OSError as error:  # offline, or no such data set: both are OSErrors there
        events.warn(
            "corpus-replaced",
            f"the training text {settings.corpus} cannot be read here ({type(error).__name__}); "
            f"using the template's own {FALLBACK_CORPUS}",
        )
        yield from _shuffled(ROOT / FALLBACK_CORPUS, seed)
        return
    for document in stream:
        yield document["text"]


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
