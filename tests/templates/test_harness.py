"""The pieces of the SAE template's locked harness."""

from __future__ import annotations

import copy
import dataclasses
import gc
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sae_template import TEMPLATE

torch = pytest.importorskip("torch")
np = pytest.importorskip("numpy")
sys.path.insert(0, str(TEMPLATE))
try:
    from harness import (
        activations,
        data,
        events,
        integrity,
        measure,
        models,
        prepare,
        quiet,
        results,
        seeds,
        settings,
        store,
    )
finally:
    sys.path.remove(str(TEMPLATE))

# ---------------------------------------------------------------- which model


def test_the_runner_decides_which_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = {"a/b": {"granted": "embedded", "reason": "a/b is gated"}, "*": {"granted": "embedded"}}
    monkeypatch.setenv("AGENT_RUNNER_MODELS", json.dumps(table))
    monkeypatch.setenv("AGENT_RUNNER_RECORD_DIR", str(tmp_path))
    model = models.grant("a/b", {"a/b": {"layers": [9], "d_model": 7}})
    assert model.record() == {"requested": "a/b", "granted": "embedded", "reason": "a/b is gated"}
    assert model.layers == settings.model_settings()["embedded"].layers
    assert models.grant("other").granted == "embedded"
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert lines[0] == {"model": model.record()}
    assert lines[1]["device"] in ("cpu", "cuda:0")


def test_settings_of_the_experiment_hold_for_the_model_it_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "EleutherAI/pythia-70m-deduped"
    monkeypatch.setattr(settings, "has_gpu", lambda: True)
    monkeypatch.setenv("AGENT_RUNNER_MODELS", json.dumps({name: {"granted": name}}))
    model = models.grant(name, {name: {"layers": [5], "dtype": "bfloat16"}})
    assert model.layers == (5,)
    assert model.dtype == torch.bfloat16
    assert model.hook_name(5) == "blocks.5.hook_resid_post"
    assert model.settings.k_values == (1, 2, 5, 10, 20, 50)
    monkeypatch.setenv("AGENT_RUNNER_MODELS", json.dumps({"*": {"granted": "who/knows"}}))
    with pytest.raises(LookupError, match="who/knows"):
        models.grant("x")


def test_no_usable_model_is_an_error_that_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr(models, "ROOT", tmp_path)
    monkeypatch.setattr(settings, "has_gpu", lambda: True)
    only = {"google/gemma-2-2b": settings.model_settings()["google/gemma-2-2b"]}
    monkeypatch.setattr(settings, "model_settings", lambda: only)
    with pytest.raises(
        models.ModelRefused,
        match="'google/gemma-2-2b' cannot be used here: it is not in this machine's Hugging Face cache",
    ):
        models.grant("google/gemma-2-2b")


REFUSED = {
    "google/gemma-2-2b": {
        "granted": None,
        "reason": "the repository is gated.",
        "remedy": "accept its licence, and set HF_TOKEN",
    },
    "EleutherAI/pythia-70m-deduped": {"granted": "EleutherAI/pythia-70m-deduped"},
    "*": {"granted": None, "reason": "not among the models of this template"},
}


def test_a_refused_model_is_an_error_that_says_what_can_be_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AGENT_RUNNER_MODELS", json.dumps(REFUSED))
    monkeypatch.setenv("AGENT_RUNNER_RECORD_DIR", str(tmp_path))
    with pytest.raises(models.ModelRefused) as refused:
        models.grant("google/gemma-2-2b", {"google/gemma-2-2b": {"d_model": 2304, "layers": [5]}})
    assert str(refused.value) == (
        "the language model 'google/gemma-2-2b' cannot be used here: the repository is gated. "
        "What a person can do: accept its licence, and set HF_TOKEN. "
        "Models that this run can use: EleutherAI/pythia-70m-deduped."
    )
    with pytest.raises(LookupError, match="'other' cannot be used here: not among the models"):
        models.grant("other")
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert lines[0] == {
        "model_refused": {
            "requested": "google/gemma-2-2b",
            "reason": "the repository is gated.",
            "remedy": "accept its licence, and set HF_TOKEN",
            "available": ["EleutherAI/pythia-70m-deduped"],
        }
    }
    assert lines[1]["model_refused"]["requested"] == "other"


def test_what_is_refused_is_not_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_RUNNER_MODELS", json.dumps(REFUSED))
    assert prepare._defaults() == ["EleutherAI/pythia-70m-deduped"]
    table = {"a": {"granted": "b"}, "b": {"granted": "b"}, "*": {"granted": "c"}}
    monkeypatch.setenv("AGENT_RUNNER_MODELS", json.dumps(table))
    assert prepare._defaults() == ["*", "a"]  # each model once, by a name that it is granted for
    monkeypatch.setenv("AGENT_RUNNER_MODELS", json.dumps({"*": {"granted": None}}))
    assert prepare._defaults() == []


def fake_snapshot(home: Path, name: str, *files: str) -> Path:
    """The files of a model in a Hugging Face cache, all empty."""
    folder = home / "hub" / f"models--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text("abc\n")
    snapshot = folder / "snapshots" / "abc"
    snapshot.mkdir(parents=True, exist_ok=True)
    for file in ("config.json", *files):
        (snapshot / file).write_text("{}")
    return snapshot


def test_a_broken_off_download_is_no_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    assert models._snapshot("a/b") is None
    folder = fake_snapshot(tmp_path, "a/b", "model-00001-of-00002.safetensors", "stray.bin")
    assert models._snapshot("a/b") is None
    index = folder / "model.safetensors.index.json"
    index.write_text('{"weight_map": ')
    assert models._snapshot("a/b") is None
    parts = {str(i): f"model-{i:05}-of-00002.safetensors" for i in (1, 2)}
    index.write_text(json.dumps({"weight_map": parts}))
    assert models._snapshot("a/b") is None
    (folder / parts["2"]).symlink_to("../../blobs/absent")
    assert models._snapshot("a/b") is None
    (folder / parts["2"]).unlink()
    (folder / parts["2"]).write_text("")
    assert models._snapshot("a/b") == folder
    assert models._snapshot("c/d") is None
    assert fake_snapshot(tmp_path, "c/d", "pytorch_model.bin") == models._snapshot("c/d")


def test_by_hand_a_model_that_needs_a_gpu_is_not_taken_without_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.delenv("AGENT_RUNNER_MODELS", raising=False)
    monkeypatch.setattr(models, "_available_memory", lambda: 2**40)
    fake_snapshot(tmp_path, "google/gemma-2-2b", "model.safetensors")
    monkeypatch.setattr(settings, "has_gpu", lambda: False)
    model = models.grant("google/gemma-2-2b")
    assert model.granted == "embedded"
    assert model.reason == "it needs a GPU, and there is none here"
    assert model.device == "cpu"
    monkeypatch.setattr(settings, "has_gpu", lambda: True)
    model = models.grant("google/gemma-2-2b")
    assert (model.granted, model.reason, model.device) == ("google/gemma-2-2b", "", "cuda:0")


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("smoke", [False, True])
def test_without_a_gpu_the_cpu_table_holds_and_smoke_sizes_go_before_it(
    monkeypatch: pytest.MonkeyPatch, gpu: bool, smoke: bool
) -> None:
    monkeypatch.setattr(settings, "has_gpu", lambda: gpu)
    found = settings.model_settings(smoke=smoke)
    pythia, embedded = found["EleutherAI/pythia-70m-deduped"], found["embedded"]
    assert (pythia.corpus == embedded.corpus) is not gpu
    assert (pythia.datasets == embedded.datasets) is not gpu
    assert (pythia.d_model, pythia.layers, pythia.batch_size) == (512, (3, 4), 512)
    sizes = ("training_tokens", "held_out_tokens", "probe_train_set_size", "k_values")
    assert (
        all(getattr(pythia, size) == getattr(embedded, size) for size in sizes) is smoke or not gpu
    )
    assert pythia.training_tokens == (16384 if smoke else 4_000_000 if gpu else 800_000)
    assert found["google/gemma-2-2b"].needs_gpu and not pythia.needs_gpu


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("field", ["trainning_tokens", "name", "d_model"])
def test_an_unknown_field_of_a_cpu_table_is_refused_with_a_gpu_too(
    monkeypatch: pytest.MonkeyPatch, gpu: bool, field: str
) -> None:
    entry = {"name": "x", "d_model": 1, "layers": [0], "cpu": {field: 1}}
    monkeypatch.setattr(settings, "SETTINGS", {"models": [entry]})
    monkeypatch.setattr(settings, "has_gpu", lambda: gpu)
    with pytest.raises(ValueError, match=rf"model 'x', cpu: unknown fields \['{field}'\]"):
        settings.model_settings()


@pytest.mark.parametrize(
    ("environment", "offline"),
    [
        ({}, "1"),
        ({"AGENT_RUNNER_NETWORK": "1"}, None),
        ({"AGENT_RUNNER_NETWORK": "0"}, "1"),
        ({"HF_HUB_OFFLINE": "0"}, "0"),
        ({"HF_HUB_OFFLINE": "1", "AGENT_RUNNER_NETWORK": "1"}, "1"),
    ],
)
def test_libraries_are_offline_unless_the_runner_gives_this_job_network(
    environment: dict[str, str], offline: str | None
) -> None:
    code = "import os, harness; print(os.environ.get('HF_HUB_OFFLINE'))"
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "AGENT_RUNNER_"))}
    done = subprocess.run(
        [sys.executable, "-B", "-c", code],
        cwd=TEMPLATE,
        env=env | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{offline}\n"


# ---------------------------------------------------------------- seeds


def draw() -> list[float]:
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]


def test_the_offset_moves_the_seeds_of_a_run_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {}
    for offset in ("", "0", "1"):
        monkeypatch.setenv("AGENT_RUNNER_SEED_OFFSET", offset)
        seeds.set_seed(7)
        moved = draw()
        seeds.set_fixed_seed(7)
        drawn[offset] = (moved, draw())
    assert drawn[""] == drawn["0"]
    assert drawn["1"][0] != drawn["0"][0]
    assert drawn["1"][1] == drawn["0"][1] == drawn["0"][0]
    seeds.set_fixed_seed(8)
    assert draw() == drawn["1"][0]


@pytest.mark.parametrize("text", ["-1", "1.5", "one", "0x1", "²", str(2**31)])
def test_an_offset_that_is_no_whole_number_is_said_before_the_work(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("AGENT_RUNNER_SEED_OFFSET", text)
    monkeypatch.setenv("AGENT_RUNNER_MODELS", json.dumps({"*": {"granted": "embedded"}}))
    with pytest.raises(ValueError, match=r"AGENT_RUNNER_SEED_OFFSET is .*whole number"):
        models.grant("x")


def test_what_is_undisturbed_leaves_no_trace_in_random_numbers() -> None:
    seeds.set_fixed_seed(1)
    expected = draw()
    seeds.set_fixed_seed(1)
    with pytest.raises(KeyError), seeds.undisturbed():
        seeds.set_fixed_seed(2)
        draw()
        raise KeyError
    assert draw() == expected


def test_a_run_draws_the_same_numbers_whether_it_finds_an_entry_or_computes_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AGENT_RUNNER_CACHE", str(tmp_path))
    drawn = []
    for _ in ("computed", "found"):
        seeds.set_fixed_seed(1)
        store.entry("kind", {}, lambda to: seeds.set_fixed_seed(len(draw())))
        drawn.append(draw())
    assert drawn[0] == drawn[1]


def test_template_toml_is_read_the_same_by_the_runner_and_the_harness() -> None:
    from agent_runner.templates import load_template

    template = load_template(TEMPLATE)
    assert template.command == "python experiment.py --out_dir={out_dir}"
    assert [m.name for m in template.models] == list(settings.model_settings())
    assert [m.name for m in template.models][-1] == "embedded"
    gemma, pythia, _ = template.models
    assert gemma.needs_gpu and not gemma.cpu
    assert pythia.cpu["corpus"] == "embedded/corpus.jsonl.gz" and not pythia.needs_gpu
    assert template.noise is not None and template.noise.seeds == (1, 2, 3)
    assert template.prepare is not None and template.prepare.network
    assert template.smoke is not None
    assert template.smoke.env == {"AGENT_RUNNER_SMOKE": "1"}
    assert settings.model_settings(smoke=True)["embedded"].training_tokens < 20_000
    with pytest.raises(ValueError, match="trainning_tokens"):
        settings.parse({"name": "x", "d_model": 1, "layers": [0], "trainning_tokens": 1})


def test_the_embedded_model_is_as_template_toml_says() -> None:
    embedded = settings.model_settings()["embedded"]
    assert embedded.folder is not None
    if not embedded.folder.is_dir():
        pytest.skip("the embedded model is not built")
    config = json.loads((embedded.folder / "config.json").read_text(encoding="utf-8"))
    assert config["hidden_size"] == embedded.d_model
    assert max(embedded.layers) < config["num_hidden_layers"]
    assert config["max_position_embeddings"] >= embedded.context_length
    assert len(data.dataset_names(embedded)) >= 4
    for name in data.dataset_names(embedded):
        train, test = data.probing_texts(embedded, name)
        assert {len(texts) for texts in train.values()} == {embedded.probe_train_set_size // 2}
        assert not {t for texts in train.values() for t in texts} & {
            t for texts in test.values() for t in texts
        }


# ---------------------------------------------------------------- the store


def entry(key: int, calls: list[int]) -> Path:
    def build(to: Path) -> None:
        calls.append(key)
        (to / "data").write_text(str(key))

    return store.entry("kind", {"key": key}, build)


def test_an_entry_is_built_once_per_key_and_read_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AGENT_RUNNER_CACHE", str(tmp_path))
    calls: list[int] = []
    first = entry(1, calls)
    assert entry(1, calls) == first
    assert entry(2, calls) != first
    assert calls == [1, 2]
    assert (first / "data").read_text() == "1"
    assert (first / "data").stat().st_mode & 0o222 == 0
    monkeypatch.setattr(store, "FORMAT_VERSION", 0)
    assert entry(1, calls) != first


def test_a_build_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AGENT_RUNNER_CACHE", str(tmp_path))

    def build(to: Path) -> None:
        (to / "half").write_text("x")
        raise RuntimeError("broken off")

    with pytest.raises(RuntimeError, match="broken off"):
        store.entry("kind", {}, build)
    assert list((tmp_path / "kind").iterdir()) == []


def test_a_damaged_entry_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AGENT_RUNNER_CACHE", str(tmp_path))
    calls: list[int] = []
    first = entry(1, calls)
    (first / "data").chmod(0o644)
    (first / "data").write_text("")
    assert (entry(1, calls) / "data").read_text() == "1"
    assert "cache-damaged" in capsys.readouterr().out


def test_a_store_that_cannot_be_written_is_done_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("AGENT_RUNNER_CACHE", str(tmp_path / "file"))
    calls: list[int] = []
    assert (entry(3, calls) / "data").read_text() == "3"
    assert entry(3, calls).is_dir()
    assert calls == [3]
    assert "harness.prepare" in capsys.readouterr().out


def test_too_little_space_is_said_before_the_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AGENT_RUNNER_CACHE", str(tmp_path))
    with pytest.raises(OSError, match="GiB are free"):
        store.entry("kind", {}, lambda to: None, size=2**60)


# ---------------------------------------------------------------- activations


def test_batches_take_every_token_once_per_epoch_in_an_order_fixed_by_the_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AGENT_RUNNER_MODELS", json.dumps({"*": {"granted": "embedded"}}))
    tokens = torch.arange(10.0)[:, None]
    acts = activations.TrainingActivations(
        models.grant("x"), 1, tokens, tokens, source={}, entry="e"
    )

    def epochs(seed: int, offset: int = 0) -> list[list[float]]:
        monkeypatch.setenv("AGENT_RUNNER_SEED_OFFSET", str(offset))
        seen = torch.cat(list(acts.batches(4, steps=5, seed=seed))).squeeze().tolist()
        return [seen[:10], seen[10:]]

    first, second = epochs(0)
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert epochs(0) == [first, second]
    assert epochs(1) != [first, second]
    assert epochs(0, offset=1) == epochs(1)
    assert acts.first_batch(4, 0).squeeze().tolist() == first[:4]


def test_what_was_made_of_one_text_never_passes_for_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hub's text that cannot be read is replaced; once it could be, it is taken from the store."""
    name = "EleutherAI/pythia-70m-deduped"
    monkeypatch.setenv("AGENT_RUNNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AGENT_RUNNER_MODELS", json.dumps({name: {"granted": name}}))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr(settings, "has_gpu", lambda: False)
    small = {"distinct_tokens": 30, "held_out_tokens": 10, "corpus": "who/pile"}
    entry = settings.model_settings()[name]
    monkeypatch.setattr(
        settings, "model_settings", lambda: {name: dataclasses.replace(entry, **small)}
    )
    layers = type("Cfg", (), {"n_layers": 6})
    monkeypatch.setattr(models, "load", lambda model: type("Loaded", (), {"cfg": layers}))

    def rows(loaded: Any, model: Any, layer: int, documents: Iterator[str]) -> Iterator[Any]:
        for document in documents:
            yield torch.full((5, model.d_model), float(len(document)))

    monkeypatch.setattr(activations, "_activations", rows)

    def offline(name: str) -> Any:
        raise ConnectionError("offline")

    def get() -> tuple[str, float]:
        acts = activations.training_activations(models.grant(name), 3)
        assert len(acts.source["corpus_digest"]) == 64
        return acts.source["corpus"], float(acts.held_out()[0, 0])

    monkeypatch.setattr(data, "_open_hub", offline)
    replaced = get()
    assert replaced[0] == data.FALLBACK_CORPUS
    assert "corpus-replaced" in capsys.readouterr().out
    monkeypatch.setattr(data, "_open_hub", lambda name: [{"text": "x" * 7}] * 20)
    assert get() == ("who/pile", 7.0)
    monkeypatch.setattr(data, "_open_hub", offline)
    assert get() == ("who/pile", 7.0)
    assert "corpus-replaced" not in capsys.readouterr().out


def test_the_digest_of_probing_texts_is_of_classes_texts_and_their_order() -> None:
    of = data.texts_digest
    texts = {"a": ["x", "y"], "b": ["z"]}
    assert of(texts, {}) == of(dict(texts), {})
    others = [
        {"a": ["y", "x"], "b": ["z"]},
        {"a": ["x"], "b": ["y", "z"]},
        {"a": ["xy"], "b": ["z"]},
    ]
    assert len({of(texts), *(of(other) for other in others)}) == 4


def test_held_out_documents_are_never_trained_on() -> None:
    parts = activations._split((str(i) for i in range(100)), held_out=True)
    held_out, train = list(parts["held_out"]), list(parts["train"])
    assert len(held_out) == 10
    assert sorted(held_out + train, key=int) == [str(i) for i in range(100)]


@pytest.mark.parametrize(
    ("bos", "expected"), [(False, [[1, 2, 0], [3, 0, 4]]), (True, [[9, 1, 2], [9, 0, 3]])]
)
def test_contexts_are_cut_from_joined_documents(bos: bool, expected: list[list[int]]) -> None:
    class Tokenizer:
        bos_token_id, eos_token_id = 9, 0

        def __call__(self, text: str | list[str], **_: object) -> dict[str, list[Any]]:
            if isinstance(text, str):
                return {"input_ids": [9, 1] if bos else [1]}
            return {"input_ids": [[int(c) for c in document] for document in text]}

    made = list(activations.contexts(Tokenizer(), iter(["12", "3", "4"]), length=3))
    assert made[:2] == expected


# ---------------------------------------------------------------- measuring and writing


class Identity(torch.nn.Module):
    """x as (x)+ and (-x)+: reconstructs exactly, every channel active once."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.calls = 0

    def encode(self, x: Any) -> Any:
        self.calls += 1
        self.last = torch.cat([x.relu(), (-x).relu()], dim=-1) * self.weight
        return self.last

    def decode(self, f: Any) -> Any:
        positive, negative = f.chunk(2, dim=-1)
        return positive - negative


def test_reconstruction_of_a_known_sae() -> None:
    sae = Identity()
    x = torch.randn(5000, 8)
    x[:, 0] = x[:, 0].abs()  # its negative half is dead
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    measured = measure.reconstruction(sae, x)
    assert measured["explained_variance"] == pytest.approx(1.0)
    assert measured["l0"] == pytest.approx(8.0)
    assert measured["dead_features"] == pytest.approx(1 / 16)
    assert sae.calls == 0
    assert torch.random.get_rng_state().equal(before)
    sae.weight.data.zero_()
    zero = measure.reconstruction(sae, x - x.mean(dim=0))
    assert zero == {
        "l0": 0.0,
        "explained_variance": pytest.approx(0.0, abs=1e-6),
        "dead_features": 1.0,
    }


def test_a_snapshot_copes_with_tensors_kept_from_the_forward_pass() -> None:
    sae = Identity()
    sae.encode(torch.randn(3, 8))
    sae.kept = [sae.last, {"f": sae.last}]
    copy = measure.snapshot(sae)
    assert copy.last.equal(sae.last)
    assert not copy.last.requires_grad
    assert copy.kept[0] is copy.last
    copy.last.zero_()
    assert sae.last.abs().sum() > 0
    assert sae.training and not copy.training


# ---------------------------------------------------------------- what training did to the parameters


def optimized(sae: Any, steps: int = 1, lr: float = 0.1) -> None:
    optimizer = torch.optim.SGD(sae.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        sum(p.square().sum() for p in sae.parameters()).backward()
        optimizer.step()


def test_parameters_are_compared_with_those_before_the_first_optimizer_step() -> None:
    initial = integrity.InitialParameters()
    sae = torch.nn.Linear(3, 2)
    start = torch.cat([p.detach().flatten() for p in sae.parameters()])
    optimized(sae)  # p -> p - 0.1 * 2 p
    initial.logged(sae)
    compared = initial.compare(sae)
    assert compared == {
        "parameters": 8,
        "non_finite": 0,
        "changed": 1.0,
        "relative_change": pytest.approx(0.2),
        "since": "first optimizer step",
    }
    with torch.no_grad():
        sae.bias.copy_(start[-2:])
    assert initial.compare(sae)["changed"] == 0.5
    optimized(sae, steps=3, lr=0.0)
    assert initial.compare(sae)["changed"] == 0.5
    sae.weight.data[0] = float("nan")
    assert initial.compare(sae)["non_finite"] == 3
    assert initial.compare(sae)["relative_change"] is None
    initial.close()


def test_a_copy_is_compared_by_name_and_a_new_shape_counts_as_changed() -> None:
    initial = integrity.InitialParameters()
    sae = torch.nn.Linear(3, 2)
    optimized(sae, lr=0.0)
    initial.logged(sae)
    average = copy.deepcopy(sae)
    assert initial.compare(average)["changed"] == 0.0
    assert initial.compare(average)["relative_change"] == 0.0
    assert initial.compare(average.double())["changed"] == 0.0
    average.bias = torch.nn.Parameter(torch.zeros(5))
    assert initial.compare(average)["changed"] == 0.5
    initial.close()


def test_without_an_optimizer_changes_are_counted_from_the_first_logged_step() -> None:
    initial = integrity.InitialParameters()
    sae = torch.nn.Linear(3, 2)
    initial.logged(sae)
    optimized(torch.nn.Linear(2, 2))  # of a probe, say
    unknown = initial.compare(sae)
    assert (unknown["changed"], unknown["relative_change"]) == (None, None)
    initial.logged(sae)
    assert initial.compare(sae)["changed"] == 0.0
    sae.weight.data *= 1.5
    sae.bias.data *= 1.5
    found = initial.compare(sae)
    assert found["relative_change"] == pytest.approx(0.5)
    assert found["since"] == "first logged step"
    initial.close()


def test_copies_of_parameters_do_not_outlive_their_use() -> None:
    initial = integrity.InitialParameters()
    sae = torch.nn.Linear(3, 2)
    optimized(sae)
    assert len(initial._starts) == 2
    del sae
    gc.collect()
    assert len(initial._starts) == 0
    initial.close()
    other = torch.nn.Linear(3, 2)
    optimized(other)
    assert len(initial._starts) == 0


class Acts:
    """What a TrainingLog needs of activations."""

    layer, device, num_tokens, distinct_tokens = 1, "cpu", 10, 10
    source: ClassVar = {"corpus": "c", "corpus_digest": "d"}

    class language_model:
        @staticmethod
        def record() -> dict[str, str]:
            return {"requested": "a", "granted": "a", "reason": ""}

    def held_out(self) -> Any:
        return torch.randn(64, 8)


def scores(value: float = 0.75) -> dict[str, Any]:
    return {
        "eval_result_metrics": {
            "llm": {"llm_test_accuracy": 0.9},
            "sae": {"sae_test_accuracy": value, "sae_top_100_test_accuracy": None},
        }
    }


def sae_with_cfg() -> Any:
    sae = Identity()
    sae.cfg = type("Cfg", (), {"d_sae": 16})()
    return sae


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shared inputs as if they were in the store."""
    monkeypatch.setattr(results.untrained, "scores", lambda acts: {"sae_test_accuracy": 0.7})
    monkeypatch.setattr(results.probing, "digests", lambda model, layer: {"set": "digest"})


def test_results_are_written_whole(
    tmp_path: Path, shared: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_RUNNER_SEED_OFFSET", "3")
    log = results.TrainingLog(str(tmp_path), Acts())  # type: ignore[arg-type]
    log.record(
        0, Identity(), {"loss": 2.0}, {"mean": torch.ones(3), "odd": float("inf"), "text": "x"}
    )
    log.record(4, Identity(), {"loss": torch.tensor([1.0])})
    written = results.write(
        str(tmp_path), sae_with_cfg(), scores(), log, {"learning_rate": 0.1, "f": print}
    )
    assert written == json.loads((tmp_path / "final_info.json").read_text(encoding="utf-8"))
    assert written["metrics"]["sae_test_accuracy"] == 0.75
    assert "sae_top_100_test_accuracy" not in written["metrics"]
    assert written["final_loss"] == 1.0
    assert written["training_steps"] == 5
    assert written["training"]["curves"]["loss"] == [2.0, 1.0]
    assert written["training"]["curves"]["mean"] == [1.0, None]
    assert written["training"]["curves"]["odd"] == [None, None]
    assert written["seed_offset"] == written["training"]["config"]["seed_offset"] == 3
    assert written["data"] == {"corpus": "c", "corpus_digest": "d", "probing": {"set": "digest"}}
    assert written["untrained"] == {"sae_test_accuracy": 0.7}
    assert written["integrity"]["parameters"] == 1
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["final_info.json", "metrics.jsonl"]


@pytest.mark.parametrize("error", [OSError, torch.OutOfMemoryError])
def test_a_full_disk_or_gpu_costs_the_untrained_reference_and_not_the_results(
    tmp_path: Path,
    error: type[Exception],
    shared: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(acts: Any) -> dict[str, float]:
        raise error("1 GiB needed")

    monkeypatch.setattr(results.untrained, "scores", full)
    log = results.TrainingLog(str(tmp_path), Acts())  # type: ignore[arg-type]
    log.record(0, Identity(), {"loss": 2.0})
    written = results.write(str(tmp_path), sae_with_cfg(), scores(), log, {})
    assert written["untrained"] is None
    assert written["metrics"]["final_loss"] == 2.0
    assert f"not computed: {error.__name__}: 1 GiB needed" in capsys.readouterr().out


def test_results_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    log = results.TrainingLog(str(tmp_path), Acts())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no training step was logged"):
        results.write(str(tmp_path), sae_with_cfg(), scores(), log, {})
    log.record(0, Identity(), {"loss": 2.0})
    with pytest.raises(ValueError, match="sae_test_accuracy"):
        results.write(str(tmp_path), sae_with_cfg(), scores(float("nan")), log, {})
    assert not (tmp_path / "final_info.json").exists()


@pytest.mark.parametrize(
    ("losses", "error"),
    [({"loss": float("nan")}, FloatingPointError), (None, TypeError), ({"l1": 1.0}, TypeError)],
)
def test_a_step_without_a_usable_loss_stops_the_run(
    tmp_path: Path, losses: Any, error: type[Exception]
) -> None:
    log = results.TrainingLog(str(tmp_path), Acts())  # type: ignore[arg-type]
    with pytest.raises(error):
        log.record(3, Identity(), losses)


def test_events_are_lines_of_json_and_only_written_for_the_runner(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    events.phase("training")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("AGENT_RUNNER_RECORD_DIR", str(tmp_path))
    events.phase("training")
    events.warn("code", "a message")
    lines = (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"phase": "training"},
        {"warning": {"code": "code", "message": "a message"}},
    ]


def test_a_phase_within_another_is_said_and_so_is_the_return(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AGENT_RUNNER_RECORD_DIR", str(tmp_path))
    events.phase("writing results")
    with events.interrupted_by("evaluation"):
        pass
    with events.interrupted_by("writing results"):
        pass
    with pytest.raises(ValueError), events.interrupted_by("data"):
        raise ValueError
    lines = (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["phase"] for line in lines] == [
        *("writing results", "evaluation", "writing results"),
        *("writing results", "data"),
    ]


def test_only_known_chatter_is_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet.sae_bench():
        print("Num non-zero elements: 3\nmine\nTest accuracy for x: 1")
        print("no end of line", end="")
        sys.stderr.write("\rCollecting: 10%\rCollecting: 100%\nan error\n")
    captured = capsys.readouterr()
    assert captured.out == "mine\nno end of line"
    assert captured.err == "an error\n"
