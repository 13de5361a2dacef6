"""The pieces of the SAE template's locked harness."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from sae_template import TEMPLATE

torch = pytest.importorskip("torch")
sys.path.insert(0, str(TEMPLATE))
try:
    from harness import activations, data, events, measure, models, quiet, results, settings, store
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
    only = {"google/gemma-2-2b": settings.model_settings()["google/gemma-2-2b"]}
    monkeypatch.setattr(settings, "model_settings", lambda: only)
    with pytest.raises(
        LookupError, match="google/gemma-2-2b: it is not in this machine's Hugging Face cache"
    ):
        models.grant("google/gemma-2-2b")


def test_template_toml_is_read_the_same_by_the_runner_and_the_harness() -> None:
    from agent_runner.templates import load_template

    template = load_template(TEMPLATE)
    assert template.command == "python experiment.py --out_dir={out_dir}"
    assert [m.name for m in template.models] == list(settings.model_settings())
    assert [m.name for m in template.models][-1] == "embedded"
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
    acts = activations.TrainingActivations(models.grant("x"), 1, tokens, tokens)

    def epochs(seed: int) -> list[list[float]]:
        seen = torch.cat(list(acts.batches(4, steps=5, seed=seed))).squeeze().tolist()
        return [seen[:10], seen[10:]]

    first, second = epochs(0)
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert epochs(0) == [first, second]
    assert epochs(1) != [first, second]


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


class Acts:
    """What a TrainingLog needs of activations."""

    layer, device, num_tokens, distinct_tokens = 1, "cpu", 10, 10

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


def test_results_are_written_whole(tmp_path: Path) -> None:
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
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["final_info.json", "metrics.jsonl"]


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


def test_only_known_chatter_is_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet.sae_bench():
        print("Num non-zero elements: 3\nmine\nTest accuracy for x: 1")
        print("no end of line", end="")
        sys.stderr.write("\rCollecting: 10%\rCollecting: 100%\nan error\n")
    captured = capsys.readouterr()
    assert captured.out == "mine\nno end of line"
    assert captured.err == "an error\n"
