"""Train the tokenizer and the small language model on the collected texts; write model/ and MANIFEST.json.

On the corpus and the training texts of the sets, one CPU, a few minutes. `--probe` measures instead: a
logistic regression per class on mean-pooled hidden states after block 2, and the loss on the test texts.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import math
import random
import time
from collections import Counter, defaultdict
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

END = "<|endoftext|>"
VOCABULARY = 4096
PROBED_STATE = 3  # hidden_states[3] is the residual stream after block 2; [0] is the embedding
PROBED_TOKENS = 64


def read_jsonl(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def read_sets(folder: Path) -> dict[str, list[dict[str, str]]]:
    paths = sorted((folder / "datasets").glob("*.jsonl.gz"))
    return {path.name.removesuffix(".jsonl.gz"): read_jsonl(path) for path in paths}


def training_texts(folder: Path) -> list[str]:
    texts = [row["text"] for row in read_jsonl(folder / "corpus.jsonl.gz")]
    for rows in read_sets(folder).values():
        texts += [row["text"] for row in rows if row["split"] == "train"]
    random.Random("training order").shuffle(texts)
    return texts


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE: every text round-trips, since every byte is a token."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=END,
        eos_token=END,
        pad_token=END,
        unk_token=END,
        clean_up_tokenization_spaces=False,
    )


def rows_of_tokens(
    tokenizer: PreTrainedTokenizerFast, texts: list[str], length: int
) -> torch.Tensor:
    """(rows, length) token ids: texts one after another, END between them and at the start of every row."""
    stream: list[int] = []
    for text in texts:
        stream += [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
    width = length - 1
    whole = len(stream) // width * width
    rows = torch.tensor(stream[:whole]).view(-1, width)
    return torch.cat([torch.full((len(rows), 1), tokenizer.bos_token_id), rows], dim=1)


def new_model(token: int) -> GPTNeoXForCausalLM:
    config = GPTNeoXConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=256,
        bos_token_id=token,
        eos_token_id=token,
        pad_token_id=token,
        use_cache=False,
    )
    return GPTNeoXForCausalLM(config)


def train(model: GPTNeoXForCausalLM, rows: torch.Tensor, args: argparse.Namespace) -> None:
    """AdamW, linear warm-up over 5% of the steps, then cosine to a tenth; epochs in seeded orders."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=args.lr, betas=(0.9, 0.95), weight_decay=0.05
    )
    warm = max(1, args.steps // 20)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warm) / max(1, args.steps - warm)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    generator = torch.Generator().manual_seed(args.seed)
    order = torch.empty(0, dtype=torch.long)
    begin = time.monotonic()
    for step in range(args.steps):
        if len(order) < args.batch_size:
            order = torch.randperm(len(rows), generator=generator)
        batch, order = rows[order[: args.batch_size]], order[args.batch_size :]
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 50 == 0 or step == args.steps - 1:
            pace = (time.monotonic() - begin) / (step + 1)
            print(f"step {step} loss {loss.item():.3f} {1000 * pace:.0f} ms/step", flush=True)


def save(model: GPTNeoXForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a Hugging Face folder: float16 weights, the tokenizer under a class name every release knows."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    config.pop("backend", None)
    path.write_text(json.dumps(config, indent=2) + "\n")
    model.half().save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)


def write_manifest(folder: Path) -> None:
    """MANIFEST.json: digest and size of every file but itself and the build scripts, and the sets' counts."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != "MANIFEST.json" and not name.startswith("build/"):
            data = path.read_bytes()
            files[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for name, rows in read_sets(folder).items():
        found = Counter((row["label"], row["split"]) for row in rows)
        labels = sorted({row["label"] for row in rows})
        counts[name] = {
            label: {split: found[label, split] for split in ("train", "test")} for label in labels
        }
    manifest = {"format": 1, "files": files, "datasets": counts}
    (folder / "MANIFEST.json").write_text(json.dumps(manifest, indent=2) + "\n")


@torch.no_grad()
def pooled(
    model: GPTNeoXForCausalLM, tokenizer: PreTrainedTokenizerFast, texts: list[str]
) -> torch.Tensor:
    """(texts, hidden) mean of the probed state over each text's first tokens, without the first END."""
    means = []
    for first in range(0, len(texts), 64):
        ids = [
            tokenizer.encode(text, add_special_tokens=False)[:PROBED_TOKENS]
            for text in texts[first : first + 64]
        ]
        width = max(map(len, ids)) + 1
        end = tokenizer.bos_token_id
        batch = torch.tensor([[end, *row, *[end] * (width - 1 - len(row))] for row in ids])
        mask = torch.tensor([[1] * (len(row) + 1) + [0] * (width - 1 - len(row)) for row in ids])
        states = model(input_ids=batch, attention_mask=mask, output_hidden_states=True)
        used = mask.clone()
        used[:, 0] = 0
        state = states.hidden_states[PROBED_STATE]
        means.append((state * used[..., None]).sum(1) / used.sum(1, keepdim=True))
    return torch.cat(means)


def probe(folder: Path) -> None:
    """Print test accuracy per class and set: one class against equally many texts of the others."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "model")
    model = GPTNeoXForCausalLM.from_pretrained(folder / "model", dtype=torch.float32).eval()
    scores = {}
    for name, rows in read_sets(folder).items():
        parts: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for index, row in enumerate(rows):
            parts[row["split"]][row["label"]].append(index)
        states = pooled(model, tokenizer, [row["text"] for row in rows]).numpy()
        labels = list(parts["train"])
        accuracy = {}
        for label in labels:
            chosen = {}
            for split, found in parts.items():
                others = [index for other in labels if other != label for index in found[other]]
                own = found[label]
                others = random.Random(f"{name} {label} {split}").sample(others, len(own))
                chosen[split] = (own + others, np.array([1] * len(own) + [0] * len(others)))
            classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, C=0.1))
            classifier.fit(states[chosen["train"][0]], chosen["train"][1])
            accuracy[label] = classifier.score(states[chosen["test"][0]], chosen["test"][1])
        scores[name] = sum(accuracy.values()) / len(accuracy)
        held_out = [row["text"] for row in rows if row["split"] == "test"]
        loss = held_out_loss(model, rows_of_tokens(tokenizer, held_out, 128))
        classes = " ".join(f"{label} {value:.3f}" for label, value in accuracy.items())
        print(f"{name}: accuracy {scores[name]:.3f} ({classes}); held-out loss {loss:.3f}")
    print(f"mean accuracy {sum(scores.values()) / len(scores):.3f}")


@torch.no_grad()
def held_out_loss(model: GPTNeoXForCausalLM, rows: torch.Tensor) -> float:
    """Mean next-token cross-entropy in nats."""
    losses = [model(input_ids=batch, labels=batch).loss * len(batch) for batch in rows.split(32)]
    return float(sum(losses) / len(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--probe", action="store_true", help="measure the stored model; write nothing"
    )
    parser.add_argument("--manifest", action="store_true", help="write MANIFEST.json only")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    if args.probe:
        probe(args.folder)
        return
    if not args.manifest:
        texts = training_texts(args.folder)
        tokenizer = train_tokenizer(texts)
        rows = rows_of_tokens(tokenizer, texts, args.length)
        model = new_model(tokenizer.eos_token_id)
        print(f"{rows.numel():,} tokens, {model.num_parameters():,} parameters", flush=True)
        train(model, rows, args)
        save(model, tokenizer, args.folder / "model")
    write_manifest(args.folder)


if __name__ == "__main__":
    main()
