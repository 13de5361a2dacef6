"""What the preflight finds in an edited experiment.py, and what it must let pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sae_template import SEEDS, TEMPLATE, copy_template

pytest.importorskip("torch")
pytestmark = pytest.mark.sae
SOURCE = (TEMPLATE / "experiment.py").read_text(encoding="utf-8")
ENCODE = "        acts = torch.relu(pre_acts)\n"
LOSS = "        l1_loss = f.norm(p=1, dim=-1).mean()\n"
B_DEC = "        self.b_dec = nn.Parameter(torch.zeros(d_in))\n"
UPDATE = "        self.optimizer.step()\n"

Check = Callable[[dict[str, str]], tuple[int, str, list[dict[str, Any]]]]


@pytest.fixture
def check(tmp_path: Path, run: Callable[..., Any]) -> Check:
    """Preflight of experiment.py with some texts replaced: exit status, last line, events."""
    folder = copy_template(tmp_path)

    def preflight(changes: dict[str, str]) -> tuple[int, str, list[dict[str, Any]]]:
        text = SOURCE
        for search, replace in changes.items():
            assert search in text
            text = text.replace(search, replace)
        (folder / "experiment.py").write_text(text, encoding="utf-8")
        done = run(folder, "-m", "harness.preflight", AGENT_RUNNER_RECORD_DIR=str(tmp_path))
        lines = (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()
        return (
            done.returncode,
            (done.stderr.splitlines() or [""])[-1],
            [json.loads(line) for line in lines],
        )

    return preflight


def warnings(events: list[dict[str, Any]]) -> list[str]:
    return [event["warning"]["code"] for event in events if "warning" in event]


def last_phase(events: list[dict[str, Any]]) -> str:
    return [event["phase"] for event in events if "phase" in event][-1]


def test_the_template_itself_passes(check: Check) -> None:
    code, error, events = check({})
    assert (code, error) == (0, "")
    assert warnings(events) == []
    assert [event["phase"] for event in events] == ["import", *["training", "evaluation"] * 2]


RECORDED = {
    "000": ("evaluation", "RuntimeError: self must be a matrix"),
    "001": ("evaluation", ""),
    "002": ("training", "AttributeError: 'CustomTrainer' object has no attribute 'ema_act'"),
    "003": (
        "evaluation",
        "RuntimeError: output with shape [512] doesn't match the broadcast shape [8, 512]",
    ),
    "004": ("training", "RuntimeError: Can't call numpy() on Tensor that requires grad."),
}


@pytest.mark.parametrize("log", RECORDED)
def test_recorded_edits(check: Check, log: str) -> None:
    if not (SEEDS / "search_blocks.json").is_file():
        pytest.skip("the recorded conversations (../shared/seeds) are not on this machine")
    blocks = json.loads((SEEDS / "search_blocks.json").read_text(encoding="utf-8"))
    phase, message = RECORDED[log]
    code, error, events = check({b["search"]: b["replace"] for b in blocks if b["log"] == log})
    assert code == (1 if message else 0)
    assert error.startswith(message)
    assert last_phase(events) == phase


@pytest.mark.parametrize(
    ("changes", "phase", "message"),
    [
        ({ENCODE: ENCODE + "        acts.T @ acts\n"}, "evaluation", "RuntimeError:"),
        ({ENCODE: ENCODE + "        np.percentile(acts.detach().numpy(), 9)\n"}, "evaluation", "TypeError:"),
        ({ENCODE: ENCODE + "        acts = acts * (acts.sum() / 0)\n"}, "training", "FloatingPointError: aten"),
        ({ENCODE: "        acts = pre_acts.relu().flatten(0, -2)\n"}, "evaluation", "RuntimeError: encode()"),
        (
            {ENCODE: ENCODE + "        acts = acts if acts.ndim == 2 else acts / 0 * 0\n"},
            "evaluation",
            "FloatingPointError: encode() gives",
        ),
        ({LOSS: LOSS + "        self.ae.missing\n"}, "training", "AttributeError: 'CustomSAE' object has no"),
        ({LOSS: LOSS + "        self.ae.W_enc @ self.ae.W_enc\n"}, "training", "RuntimeError: mat1 and mat2"),
        ({LOSS: LOSS + "        f.view(7, -1)\n"}, "training", "RuntimeError: shape '[7, -1]'"),
        ({UPDATE: ""}, "training", "RuntimeError: update() changed no parameter"),
        ({"import numpy as np\n": "import nunpy as np\n"}, "import", "ModuleNotFoundError: No module named"),
        ({"class CustomSAE(nn.Module):": "class CustomSAE(nn.Modul):"}, "import", "AttributeError: module"),
        (
            {
                "EXPANSION = 4 ": "EXPANSION = 1 ",
                LOSS: LOSS + "        self.ae.W_enc @ self.ae.W_enc.T @ self.ae.W_dec.T @ self.ae.W_enc\n",
                ENCODE: ENCODE + "        acts @ self.W_enc\n",
            },
            "training",
            "RuntimeError: mat1 and mat2",
        ),
    ],
    ids=[
        "2d-only", "numpy-bf16", "nan", "flattened", "nan-in-3d", "no-attribute", "shape", "view", "no-step",
        "no-module", "no-name", "hidden-by-equal-sizes",
    ],
)  # fmt: skip
def test_faults_are_found(check: Check, changes: dict[str, str], phase: str, message: str) -> None:
    code, error, events = check(changes)
    assert code == 1
    assert error.startswith(message)
    assert last_phase(events) == phase


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"CustomTrainer": "MyTrainer"}, ["preflight-skipped", "preflight-skipped"]),
        ({"        layer,\n        lm_name,": "        depth,\n        lm_name,"}, ["preflight-skipped"] * 2),
        (
            {B_DEC: B_DEC + "        self.unused = nn.Parameter(torch.zeros(1))\n"},
            ["parameter-without-gradient"] * 2,
        ),
        ({"        return losses\n": "        return None\n"}, ["no-loss"] * 2),
        ({ENCODE: ENCODE + "        self.last = acts\n"}, []),
        ({ENCODE: ENCODE + "        acts = acts * (acts >= acts.topk(300, dim=-1)[0][..., -1:])\n"},
         ["fails-at-equal-sizes"]),
    ],
    ids=["renamed", "other-arguments", "unused-parameter", "no-losses", "kept-graph", "large-k"],
)  # fmt: skip
def test_what_is_no_fault_passes(
    check: Check, changes: dict[str, str], expected: list[str]
) -> None:
    code, error, events = check(changes)
    assert (code, error) == (0, "")
    assert warnings(events) == expected


def test_where_nan_comes_from_is_raised_there(check: Check) -> None:
    """0 * log(0): the gradient hides it behind relu, so that only the loss is NaN."""
    line = "        l1_loss = (f * f.log()).sum(dim=-1).mean()\n"
    code, error, events = check({LOSS: line})
    assert code == 1
    assert error == (
        "FloatingPointError: aten.mul.Tensor makes NaN of infinite values "
        "(inputs of shape (2048, 512), (2048, 512))"
    )
    assert last_phase(events) == "training"


def test_nan_that_no_operation_of_python_makes_is_told_by_name(check: Check) -> None:
    code, error, _ = check({"LEARNING_RATE = 3e-4": 'LEARNING_RATE = float("inf")'})
    assert code == 1 and "W_" in error and "after training step 0" in error
