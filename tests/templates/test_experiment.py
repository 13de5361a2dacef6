"""experiment.py as text (agents' SEARCH blocks match it) and as a model that really trains."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sae_template import FIXTURES, SEEDS, TEMPLATE

SOURCE = (TEMPLATE / "experiment.py").read_text(encoding="utf-8")
TEXTS: list[str] = json.loads((FIXTURES / "search_texts.json").read_text(encoding="utf-8"))
RECORDED = SEEDS / "search_blocks.json"


def recorded_blocks() -> list[dict[str, Any]]:
    if not RECORDED.is_file():
        pytest.skip("the recorded conversations (../shared/seeds) are not on this machine")
    return json.loads(RECORDED.read_text(encoding="utf-8"))


def test_the_fixture_holds_the_recorded_search_texts() -> None:
    assert set(TEXTS) == {block["search"] for block in recorded_blocks()}


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_each_search_text_occurs_exactly_once(text: str) -> None:
    assert SOURCE.count(text) == 1


def test_there_are_fifteen_search_texts_and_one_ends_a_line_in_a_space() -> None:
    assert len(TEXTS) == 15
    assert sum(" \n" in text for text in TEXTS) == 1


@pytest.mark.parametrize("log", ["000", "001", "002", "003", "004"])
def test_recorded_blocks_apply_one_after_the_other(log: str) -> None:
    text = SOURCE
    for block in recorded_blocks():
        if block["log"] == log:
            assert text.count(block["search"]) == 1, f"block {block['n']}"
            text = text.replace(block["search"], block["replace"])
    assert text != SOURCE
    compile(text, "experiment.py", "exec")


def test_importing_needs_torch_and_numpy_only_and_writes_nothing(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import experiment; "
        "print([m for m in ('transformer_lens', 'sae_bench', 'sae_lens', 'transformers', 'datasets', "
        "'sklearn') if m in sys.modules])"
    )
    env = {**os.environ, "AGENT_RUNNER_RECORD_DIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(TEMPLATE)],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    pytest.importorskip("torch")
    sys.path.insert(0, str(TEMPLATE))
    try:
        spec = importlib.util.spec_from_file_location(
            "experiment_under_test", TEMPLATE / "experiment.py"
        )
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(TEMPLATE))
    return module


def test_initial_weights(experiment: ModuleType) -> None:
    import torch

    sae = experiment.CustomSAE(d_in=16, d_sae=64, hook_layer=3)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(64))
    torch.testing.assert_close(
        torch.nn.functional.cosine_similarity(sae.W_enc.T, sae.W_dec), torch.ones(64)
    )
    assert sae.cfg.hook_name == "blocks.3.hook_resid_post"
    assert (sae.activation_dim, sae.dict_size) == (16, 64)


def test_forward_and_to(experiment: ModuleType) -> None:
    import torch

    sae = experiment.CustomSAE(d_in=16, d_sae=64, hook_layer=3)
    x = torch.randn(2, 5, 16)
    decoded, encoded = sae(x, output_features=True)
    assert (decoded.shape, encoded.shape) == ((2, 5, 16), (2, 5, 64))
    assert encoded.min() == 0
    torch.testing.assert_close(sae(x), decoded)
    assert sae.to(dtype=torch.bfloat16) is sae
    assert sae.dtype == torch.bfloat16 == sae.encode(x.to(torch.bfloat16)).dtype


@pytest.mark.sae
@pytest.mark.parametrize("resample_steps", [None, 10])
def test_training_lowers_the_loss_and_keeps_features_at_unit_norm(
    experiment: ModuleType, resample_steps: int | None
) -> None:
    import torch

    trainer = experiment.CustomTrainer(
        activation_dim=16,
        dict_size=64,
        layer=0,
        lm_name="none",
        warmup_steps=5,
        lr=1e-2,
        resample_steps=resample_steps,
    )
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(24, 16, generator=generator)
    losses = []
    for step in range(200):
        sparse = torch.rand(256, 24, generator=generator) * (
            torch.rand(256, 24, generator=generator) < 0.1
        )
        losses.append(trainer.update(step, sparse @ features))
    assert losses[-1]["loss"] < 0.7 * losses[0]["loss"]
    assert set(losses[0]) == {"loss", "l2_loss", "l1_loss"}
    torch.testing.assert_close(trainer.ae.W_dec.norm(dim=1), torch.ones(64))
    assert all(torch.isfinite(p).all() for p in trainer.ae.parameters())


@pytest.mark.sae
def test_dead_features_are_pointed_at_badly_reconstructed_inputs(experiment: ModuleType) -> None:
    import torch

    trainer = experiment.CustomTrainer(
        activation_dim=16, dict_size=64, layer=0, lm_name="none", warmup_steps=1, resample_steps=4
    )
    x = torch.randn(256, 16)
    trainer.update(0, x)
    with torch.no_grad():
        trainer.ae.b_enc[:32] = -1e3  # never active
    dead = trainer.ae.W_dec[:32].detach().clone()
    for step in range(1, 5):
        trainer.update(step, x)
    assert (trainer.ae.W_dec[:32] - dead).norm(dim=1).min() > 0.1
    assert (trainer.ae.encode(x)[:, :32] > 0).any()
    assert torch.isfinite(trainer.ae.W_enc).all()


def test_same_seed_same_trainer(experiment: ModuleType) -> None:
    make = experiment.CustomTrainer
    first, second = (
        make(activation_dim=8, dict_size=32, layer=0, lm_name="none") for _ in range(2)
    )
    assert first.ae.W_dec.equal(second.ae.W_dec)


def test_logging_parameters(experiment: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = experiment.CustomTrainer(activation_dim=8, dict_size=32, layer=0, lm_name="none")
    trainer.logging_parameters = ["l1_penalty", "missing"]
    assert trainer.get_logging_parameters() == {"l1_penalty": experiment.SPARSITY_PENALTY}
    assert "missing not found" in capsys.readouterr().out
    assert trainer.config["learning_rate"] == experiment.LEARNING_RATE
