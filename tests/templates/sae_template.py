"""A small copy of the template: the same experiment.py and harness, with a language model of a few kilobytes.

Its weights are random; nothing here depends on what the model knows.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "templates"
SEEDS = ROOT.parent / "shared" / "seeds"
FIXTURES = ROOT / "tests" / "fixtures" / "template"

Run = Callable[..., "subprocess.CompletedProcess[str]"]

_WORDS = {
    "python": [
        "def",
        "return",
        "import",
        "class",
        "self",
        "lambda",
        "yield",
        "None",
        "True",
        "raise",
    ],
    "shell": ["echo", "then", "fi", "esac", "export", "local", "grep", "awk", "sed", "done"],
    "prose": [
        "the",
        "history",
        "of",
        "rivers",
        "begins",
        "with",
        "rain",
        "upon",
        "distant",
        "hills",
    ],
}
_MODEL = """
[[models]]
name = "google/gemma-2-2b"
d_model = 2304
layers = [5, 12, 19]

[[models]]
name = "embedded"
path = "embedded/model"
d_model = 32
layers = [1]
batch_size = 32
context_length = 16
training_tokens = 40960
distinct_tokens = 8000
held_out_tokens = 1000
probe_train_set_size = 80
probe_test_set_size = 40
k_values = [1, 5]
"""


def command(hf_home: Path, cache: Path) -> Run:
    """Runs a command of the template in a folder, in a clean environment; AGENT_RUNNER_* by keyword."""

    def start(folder: Path, *argv: str, **settings: str) -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("AGENT_RUNNER_", "HF_"))}
        env |= {"HF_HOME": str(hf_home), "AGENT_RUNNER_CACHE": str(cache)}
        env |= {"OMP_NUM_THREADS": "2", **settings}
        return subprocess.run(
            [sys.executable, *argv],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )

    return start


def copy_template(to: Path) -> Path:
    """experiment.py, the harness and a template.toml with small sizes."""
    shutil.copytree(
        TEMPLATE / "harness", to / "harness", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(TEMPLATE / "experiment.py", to / "experiment.py")
    text = (TEMPLATE / "template.toml").read_text(encoding="utf-8")
    (to / "template.toml").write_text(text[: text.index("[[models]]")] + _MODEL, encoding="utf-8")
    return to


def write_jsonl(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def text(label: str, seed: int, words: int = 24) -> str:
    """A text of its class: mostly its own words."""
    rng = random.Random(f"{label}{seed}")
    others = [word for words in _WORDS.values() for word in words]
    return " ".join(
        rng.choice(_WORDS[label] if rng.random() < 0.6 else others) for _ in range(words)
    )


def build_embedded(folder: Path) -> None:
    """A random GPT-NeoX of two layers, its tokenizer, a corpus and two labelled sets."""
    write_jsonl(
        folder / "corpus.jsonl.gz",
        [{"text": text(label, i)} for i in range(250) for label in _WORDS],
    )
    for name, labels in {"language": list(_WORDS), "prose": ["prose", "shell"]}.items():
        rows = [
            {"split": split, "label": label, "text": text(label, seed), "source": "made up"}
            for label in labels
            for split, seeds in (("train", range(60)), ("test", range(60, 100)))
            for seed in seeds
        ]
        write_jsonl(folder / "datasets" / f"{name}.jsonl.gz", rows)
    build_model(folder / "model", layers=2)


def build_model(folder: Path, layers: int) -> None:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

    words = ["<|endoftext|>", "<unk>", *sorted({w for words in _WORDS.values() for w in words})]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    end = "<|endoftext|>"
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=end, eos_token=end, pad_token=end, unk_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    GPTNeoXForCausalLM(config).save_pretrained(folder, safe_serialization=True)
