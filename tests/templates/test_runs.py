"""Whole runs of the SAE template on a small language model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sae_template import build_model, command, write_jsonl

pytest.importorskip("sae_bench")
pytestmark = pytest.mark.sae

Run = Callable[..., Any]


def final_info(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "final_info.json").read_text(encoding="utf-8"))


def phases(record_dir: Path) -> list[str]:
    lines = (record_dir / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [event["phase"] for event in map(json.loads, lines) if "phase" in event]


def test_a_run_by_hand_trains_scores_and_says_which_model_it_used(run: Run, template: Path) -> None:
    done = run(template, "experiment.py", "--out_dir=run_0")
    assert done.returncode == 0, done.stderr
    info = final_info(template / "run_0")
    assert info["model"]["requested"] == "google/gemma-2-2b"
    assert info["model"]["granted"] == "embedded"
    assert "Hugging Face cache" in info["model"]["reason"]
    assert info["model"]["reason"] in done.stdout
    assert info["training_steps"] == 40960 // 2048
    assert info["layer"] == info["sae_cfg_dict"]["hook_layer"] == 1
    assert info["sae_lens_release_id"] == "embedded_layer_1_sae"
    assert info["dict_size"] == info["sae_cfg_dict"]["d_sae"] == 4 * 32
    assert info["training"]["tokens"] == 40960
    assert info["training"]["distinct_tokens"] == 8000
    curve = info["training"]["curves"]
    assert curve["loss"][-1] == info["final_loss"] < curve["loss"][0]
    assert curve["step"][-1] == info["training_steps"] - 1
    metrics = info["metrics"]
    assert set(metrics) == {
        *(
            f"{who}_{what}_accuracy"
            for who in ("llm", "sae")
            for what in ("test", "top_1_test", "top_5_test")
        ),
        *("l0", "explained_variance", "dead_features", "final_loss"),
    }
    assert all(isinstance(value, float) for value in metrics.values())
    assert set(info["untrained"]) == {n for n in metrics if n.startswith("sae_")} | {
        *("l0", "explained_variance", "dead_features"),
    }
    assert info["untrained"]["explained_variance"] < metrics["explained_variance"]
    assert info["integrity"] == {
        "parameters": 2 * 32 * 128 + 128 + 32,
        "non_finite": 0,
        "changed": 1.0,
        "relative_change": info["integrity"]["relative_change"],
        "since": "first optimizer step",
    }
    assert 0.001 < info["integrity"]["relative_change"] < 10
    assert info["data"]["corpus"] == "embedded/corpus.jsonl.gz"
    assert list(info["data"]["probing"]) == ["language", "prose"]
    assert metrics["l0"] == info["l0"]
    assert [d["dataset_name"] for d in info["eval_result_details"]] == [
        "language_results",
        "prose_results",
    ]
    mean = sum(d["sae_test_accuracy"] for d in info["eval_result_details"]) / 2
    assert metrics["sae_test_accuracy"] == pytest.approx(mean)
    lines = (template / "run_0" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["loss"] for line in lines] == curve["loss"]
    assert [p.name for p in (template / "run_0").iterdir() if p.name.startswith(".")] == []


WAYS: dict[str, dict[str, str]] = {
    "cold": {},
    "warm": {"AGENT_RUNNER_SEED_OFFSET": "0"},
    "moved": {"AGENT_RUNNER_SEED_OFFSET": "1", "AGENT_RUNNER_CACHE": "a file"},
}


@pytest.fixture(scope="module")
def three_runs(
    tiny_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, dict[str, Any]], Path]:
    """The same code: with an empty store, with the store it filled, and with another seed and no store."""
    base = tmp_path_factory.mktemp("three")
    (base / "a file").write_text("not a folder")
    run = command(base / "hf", base / "cache")
    infos = {}
    for way, settings in WAYS.items():
        out = base / way
        out.mkdir()
        there = {k: str(base / v) if k == "AGENT_RUNNER_CACHE" else v for k, v in settings.items()}
        there["AGENT_RUNNER_RECORD_DIR"] = str(out)
        done = run(tiny_template, "experiment.py", f"--out_dir={out}", **there)
        assert done.returncode == 0, done.stderr
        infos[way] = final_info(out)
    return infos, base


Three = tuple[dict[str, dict[str, Any]], Path]


def test_cold_and_warm_give_the_same_numbers(three_runs: Three) -> None:
    infos, base = three_runs
    cold, warm = infos["cold"], infos["warm"]
    for name in ("metrics", "eval_result_details", "training", "integrity", "seed_offset"):
        assert cold[name] == warm[name]
    for name in ("data", "untrained"):
        assert cold[name] == warm[name]
    assert "model load" in phases(base / "cold")
    assert phases(base / "cold")[-3:] == ["writing results", "evaluation", "writing results"]
    assert phases(base / "warm") == ["data", "training", "evaluation", "writing results"]
    entries = [p for p in (base / "cache").rglob("*") if p.is_file()]
    assert entries
    assert all(p.stat().st_mode & 0o222 == 0 for p in entries)


def test_a_seed_offset_moves_training_and_scoring_and_nothing_shared(three_runs: Three) -> None:
    """What is shared was computed anew by the run that was moved, and is the same."""
    usual, moved = three_runs[0]["warm"], three_runs[0]["moved"]
    assert (usual["seed_offset"], moved["seed_offset"]) == (0, 1)
    assert moved["training"]["config"]["seed_offset"] == 1
    assert moved["training"]["config"]["seed"] == usual["training"]["config"]["seed"] == 42
    for name in ("eval_config", "data", "untrained", "model"):
        assert moved[name] == usual[name]
    same = {name for name, value in usual["metrics"].items() if moved["metrics"][name] == value}
    assert {name for name in usual["metrics"] if name.startswith("llm_")} <= same
    assert not {name for name in usual["metrics"] if name.startswith("sae_")} <= same
    assert "final_loss" not in same
    assert moved["integrity"]["relative_change"] != usual["integrity"]["relative_change"]


UNTRAINED = """
import json
import experiment, torch
from harness import activations, models, untrained

acts = activations.training_activations(models.grant("embedded"), 1)
torch.manual_seed(3)
expected = torch.rand(2)
torch.manual_seed(3)
first = torch.rand(1)
scores = untrained.scores(acts)
undisturbed = torch.cat([first, torch.rand(1)]).equal(expected)
trainer = experiment.CustomTrainer(activation_dim=32, dict_size=128, layer=1, lm_name="embedded")
batch = next(acts.batches(experiment.SAE_BATCH_SIZE, 1, seed=experiment.SEED))
again = untrained.scores(acts)
trainer.initialize_biases(batch)
reference = untrained.UntrainedSAE(acts)
ours, theirs = reference.state_dict(), trainer.ae.state_dict()
largest = max(float((ours[name] - value).abs().max()) for name, value in theirs.items())
density = float((reference.encode(batch) > 0).float().mean())
print(json.dumps([scores, scores == again, undisturbed, largest, density]))
"""


def test_the_untrained_reference_is_the_template_s_sae_before_its_first_step(
    run: Run, template: Path, tmp_path: Path
) -> None:
    done = run(template, "-c", UNTRAINED, AGENT_RUNNER_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    scores, same, undisturbed, largest, density = json.loads(done.stdout.splitlines()[-1])
    assert same and undisturbed
    assert largest < 1e-5
    assert density == pytest.approx(0.1, abs=0.01)
    assert set(scores) == {
        *("sae_test_accuracy", "sae_top_1_test_accuracy", "sae_top_5_test_accuracy"),
        *("l0", "explained_variance", "dead_features"),
    }
    assert 0.4 < scores["sae_test_accuracy"] < 1
    assert done.stdout.count("untrained reference: sparse probing") == 1


def test_prepare_makes_full_and_smoke_runs_warm(run: Run, template: Path, tmp_path: Path) -> None:
    record_dir = tmp_path / "records"
    record_dir.mkdir()
    shared = {
        "AGENT_RUNNER_CACHE": str(tmp_path / "cache"),
        "AGENT_RUNNER_RECORD_DIR": str(record_dir),
        "AGENT_RUNNER_MODELS": json.dumps({"*": {"granted": "embedded", "reason": "told so"}}),
    }
    assert run(template, "-m", "harness.prepare", **shared).returncode == 0
    (record_dir / "events.jsonl").unlink()
    done = run(template, "experiment.py", "--out_dir=smoke", **shared, AGENT_RUNNER_SMOKE="1")
    assert done.returncode == 0, done.stderr
    assert phases(record_dir) == ["data", "training", "evaluation", "writing results"]
    info = final_info(template / "smoke")
    assert info["smoke"] is True
    assert info["model"] == {
        "requested": "google/gemma-2-2b",
        "granted": "embedded",
        "reason": "told so",
    }
    assert info["training_steps"] == 8
    assert info["untrained"]["sae_test_accuracy"] > 0.3


STATEFUL = """
import experiment, json, torch
from harness import activations, evaluation, models

class Stateful(experiment.CustomSAE):
    def encode(self, acts):
        f = super().encode(acts)
        self.W_enc.data *= 0.9  # every call changes every later one
        return f + 0.01 * torch.rand_like(f)

model = models.grant("embedded")
acts = activations.training_activations(model, 1)
torch.manual_seed(0)
sae = Stateful(32, 64, 1, model_name="embedded")
before = sae.W_enc.detach().clone()
runs = [evaluation.sparse_probing(sae, acts)["eval_result_details"] for _ in range(2)]
print(json.dumps([runs[0] == runs[1], bool(sae.W_enc.equal(before)), torch.is_grad_enabled()]))
for change in (
    lambda s: setattr(s.cfg, "hook_layer", 0),
    lambda s: s.b_enc.data.fill_(float("nan")),
):
    sae = experiment.CustomSAE(32, 64, 1, model_name="embedded")
    change(sae)
    try:
        evaluation.sparse_probing(sae, acts)
    except ValueError as error:
        print("refused:", error)
"""


def test_evaluation_is_of_a_snapshot_and_checks_what_it_is_given(
    run: Run, tiny_template: Path
) -> None:
    done = run(tiny_template, "-c", STATEFUL)
    assert done.returncode == 0, done.stderr
    assert "[true, true, true]" in done.stdout
    assert "refused: the SAE's cfg says layer 0, hook 'blocks.1.hook_resid_post'" in done.stdout
    assert "refused: b_enc of the trained SAE has 64 of 64 values that are NaN" in done.stdout


HUB = """
import json
from harness import activations, models, probing
model = models.grant("EleutherAI/pythia-70m-deduped", {
    "EleutherAI/pythia-70m-deduped": {"layers": [3], "d_model": 32, "batch_size": 16, "dtype": "bfloat16"}})
acts = activations.training_activations(model, model.layers[0])
batch = next(acts.batches(8, 1, seed=0))
print(json.dumps([model.record(), str(model.dtype), list(batch.shape), str(batch.dtype),
    list(probing.artifacts(model, 3)), acts.source["corpus"]]))
"""
HUB_TOML = """
[[models]]
name = "EleutherAI/pythia-70m-deduped"
d_model = 512
layers = [3, 4]
corpus = "monology/pile-uncopyrighted"
context_length = 16
training_tokens = 1000
distinct_tokens = 1000
held_out_tokens = 100
probe_train_set_size = 32
probe_test_set_size = 16
k_values = [1]
datasets = ["fancyzhx/ag_news"]
"""


def test_a_hub_model_and_a_named_data_set_from_the_local_cache(
    run: Run, template: Path, tmp_path: Path
) -> None:
    """The code path of pythia and gemma, with a model of a few kilobytes under pythia's name."""
    home = tmp_path / "hf"
    folder = home / "hub" / "models--EleutherAI--pythia-70m-deduped"
    build_model(folder / "snapshots" / "abc", layers=4)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    for split, count in (("train", 80), ("test", 40)):
        rows = [{"text": f"def class {i}", "label": i % 4} for i in range(count)]
        write_jsonl(template / "fancyzhx" / "ag_news" / f"{split}.jsonl.gz", rows)
    text = (template / "template.toml").read_text(encoding="utf-8")
    (template / "template.toml").write_text(text + HUB_TOML, encoding="utf-8")
    done = run(template, "-c", HUB, AGENT_RUNNER_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [
        {
            "requested": "EleutherAI/pythia-70m-deduped",
            "granted": "EleutherAI/pythia-70m-deduped",
            "reason": "",
        },
        "torch.bfloat16",
        [8, 32],
        "torch.float32",
        ["fancyzhx/ag_news"],
        "embedded/corpus.jsonl.gz",
    ]
    assert "corpus-replaced" in done.stdout
