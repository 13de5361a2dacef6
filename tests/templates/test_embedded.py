"""The embedded default as it is shipped: texts, splits, digests, and a language model that knows something."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from sae_template import TEMPLATE

EMBEDDED = TEMPLATE / "embedded"
SETS = (
    "code_role",
    "document_kind",
    "natural_language",
    "programming_language",
    "stdlib_topic",
)
LEAST = {"train": 400, "test": 100}
TOTAL_BYTES = 10_000_000
EMAIL = re.compile(
    r"[\w.+-]+@[\w-]+\.(?:com|org|net|edu|de|uk|fr|it)\b"
    r"|\b\w+ ?[\[(] ?at ?[\])] ?\w+|\b\w+ at \w+ dot \w+",
    re.IGNORECASE,
)


def _read(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _rows(name: str) -> list[dict[str, str]]:
    return _read(EMBEDDED / "datasets" / f"{name}.jsonl.gz")


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return json.loads((EMBEDDED / "MANIFEST.json").read_text())


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(EMBEDDED / "model", local_files_only=True)


@pytest.fixture(scope="module")
def model() -> Any:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    return transformers.GPTNeoXForCausalLM.from_pretrained(
        EMBEDDED / "model", local_files_only=True, dtype=torch.float32
    ).eval()


def test_every_shipped_file_has_the_digest_and_size_the_manifest_gives(
    manifest: dict[str, Any],
) -> None:
    present = {}
    for path in EMBEDDED.rglob("*"):
        name = path.relative_to(EMBEDDED).as_posix()
        if path.is_file() and name != "MANIFEST.json" and not name.startswith("build/"):
            data = path.read_bytes()
            present[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    assert manifest["format"] == 1
    assert present == manifest["files"]


def test_the_folder_stays_small() -> None:
    sizes = [path.stat().st_size for path in EMBEDDED.rglob("*") if path.is_file()]
    assert sum(sizes) <= TOTAL_BYTES


def test_the_sets_are_the_ones_the_manifest_and_the_sources_page_name(
    manifest: dict[str, Any],
) -> None:
    files = {path.name for path in (EMBEDDED / "datasets").iterdir()}
    page = (EMBEDDED / "SOURCES.md").read_text()
    assert files == {f"{name}.jsonl.gz" for name in SETS}
    assert sorted(manifest["datasets"]) == sorted(SETS)
    assert [name for name in SETS if f"| `{name}` |" not in page] == []


@pytest.mark.parametrize("name", SETS)
def test_classes_are_balanced_large_enough_and_counted(name: str, manifest: dict[str, Any]) -> None:
    rows = _rows(name)
    found = Counter((row["label"], row["split"]) for row in rows)
    labels = sorted({row["label"] for row in rows})
    counted = {label: {split: found[label, split] for split in LEAST} for label in labels}
    assert counted == manifest["datasets"][name]
    assert sum(found.values()) == sum(sum(counts.values()) for counts in counted.values())
    for split, least in LEAST.items():
        sizes = {counts[split] for counts in counted.values()}
        assert len(sizes) == 1 and min(sizes) >= least
    assert {250 <= len(row["text"]) <= 400 for row in rows} == {True}


@pytest.mark.parametrize("name", SETS)
def test_no_text_occurs_twice_in_a_set(name: str) -> None:
    texts = Counter(row["text"] for row in _rows(name))
    assert [text for text, count in texts.items() if count > 1] == []


def test_no_source_is_in_both_splits_of_any_sets() -> None:
    splits: dict[str, set[str]] = defaultdict(set)
    for name in SETS:
        for row in _rows(name):
            splits[row["source"]].add(row["split"])
    assert [source for source, found in splits.items() if len(found) > 1] == []


def test_a_translated_catalogue_is_in_one_split_in_all_languages() -> None:
    splits: dict[str, set[str]] = defaultdict(set)
    for row in _rows("natural_language"):
        splits[Path(row["source"]).name].add(row["split"])
    assert [catalogue for catalogue, found in splits.items() if len(found) > 1] == []


def test_no_test_text_is_a_training_text_of_another_set_or_in_the_corpus() -> None:
    rows = [row for name in SETS for row in _rows(name)]
    held_out = {row["text"] for row in rows if row["split"] == "test"}
    trained = {row["text"] for row in rows if row["split"] == "train"}
    corpus = (row["text"] for row in _read(EMBEDDED / "corpus.jsonl.gz"))
    assert held_out & trained == set()
    assert [text for document in corpus for text in _found(document, held_out)] == []


def _found(document: str, texts: set[str]) -> set[str]:
    """The texts that occur in a document, by their first 100 characters."""
    places = range(len(document) - 99)
    starts = {document[place : place + 100] for place in places}
    return {text for text in texts if text[:100] in starts and text in document}


def test_texts_hold_no_mail_addresses() -> None:
    rows = [row for name in SETS for row in _rows(name)]
    rows += _read(EMBEDDED / "corpus.jsonl.gz")
    assert [found[0] for row in rows if (found := EMAIL.search(row["text"]))] == []


def test_the_packages_of_all_sources_are_on_the_sources_page() -> None:
    page = (EMBEDDED / "SOURCES.md").read_text()
    packages = {re.split("[:/]", row["source"])[0] for name in SETS for row in _rows(name)}
    assert [package for package in sorted(packages) if f"\n| {package} | " not in page] == []


def test_the_corpus_is_long_enough_under_the_tokenizer(tokenizer: Any) -> None:
    texts = [row["text"] for row in _read(EMBEDDED / "corpus.jsonl.gz")]
    encoded = tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    assert sum(map(len, encoded)) >= 600_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        " two  spaces\n\ttab",
        "naïve café – zażółć 漢字 🙂",
        "<|endoftext|>",
        "if (a<b) { return; }",
    ],
)
def test_the_tokenizer_gives_the_text_back(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_the_tokenizer_gives_every_held_out_text_back(tokenizer: Any) -> None:
    texts = [row["text"] for name in SETS for row in _rows(name) if row["split"] == "test"]
    ids = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    assert [
        text for text, own in zip(texts, ids, strict=True) if tokenizer.decode(own) != text
    ] == []


def test_the_special_tokens_are_one(tokenizer: Any) -> None:
    special = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token)
    assert set(special) == {"<|endoftext|>"}
    assert len(tokenizer) == 4096


def test_the_model_has_the_declared_shape(model: Any) -> None:
    config = model.config
    shape = (config.num_hidden_layers, config.hidden_size, config.num_attention_heads)
    assert shape == (4, 128, 4)
    assert (config.intermediate_size, config.vocab_size) == (512, 4096)
    assert config.max_position_embeddings == 256


@pytest.mark.parametrize("name", SETS)
def test_the_model_predicts_held_out_texts_far_better_than_chance(
    name: str, model: Any, tokenizer: Any
) -> None:
    torch = pytest.importorskip("torch")
    losses = []
    texts = [row["text"] for row in _rows(name) if row["split"] == "test"]
    for text in texts[:: len(texts) // 40]:
        ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer.encode(text)][:128]])
        with torch.no_grad():
            losses.append(float(model(input_ids=ids, labels=ids).loss))
    assert all(math.isfinite(loss) for loss in losses)
    assert sum(losses) / len(losses) < math.log(4096) - 2
