"""Recorded conversations played through the command line on the embedded default: the main job, end to end."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sae_bench", reason="the SAE template needs the sae extra")
pytestmark = pytest.mark.sae

ROOT = Path(__file__).resolve().parents[2]

# What becomes of each recorded reply here: its kind of fault, and the function it is in; None = it runs.
EXPECTED: dict[str, list[tuple[str, str] | None]] = {
    "000": [("shape_mismatch", "encode"), ("shape_mismatch", "encode")],
    "001": [None],
    "002": [("attribute_error", "loss")],
    "003": [("shape_mismatch", "encode")],
    "004": [("dtype_or_device_mismatch", "encode")],
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all replays: ideas on an equal template share its baseline."""
    return tmp_path_factory.mktemp("home")


def agent_runner(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agent_runner", "--home", str(home), *arguments],
        capture_output=True,
        text=True,
        timeout=900,
        cwd=home,
    )


def replay(home: Path, log: Path) -> dict[str, Any]:
    ended = agent_runner(home, "import-chat", "--replay", str(log), "--json")
    assert ended.returncode == 0, ended.stderr
    document: dict[str, Any] = json.loads(ended.stdout)
    return document


def assert_sound(document: dict[str, Any]) -> None:
    """What must hold of every replay, whatever its replies were worth."""
    baseline = document["baseline"]["run"]
    assert baseline["outcome"] == "succeeded", document["baseline"]["message"]
    assert not [f for f in baseline["findings"] if f["severity"] == "fail"]
    model = baseline["model"]
    assert (model["requested"], model["granted"]) == ("google/gemma-2-2b", "embedded")
    assert "not in this machine's model cache" in model["reason"]
    trees = []
    for observation in document["observations"]:
        roles = [message["role"] for message in observation["messages"]]
        assert roles[-1] == "user"
        assert all(a != b for a, b in itertools.pairwise(roles)), roles
        assert observation["budget"]["charged"] == observation["accepted"]
        if observation["accepted"]:
            trees.append(observation["run"]["tree"])
        else:
            assert "This used no run" in observation["message"]
    assert len(trees) == len(set(trees)), "the same tree was run twice"
    assert observation["budget"]["used"] == len(trees)


@pytest.mark.parametrize("log", sorted(EXPECTED))
def test_each_recorded_conversation_ends_as_it_really_would(
    log: str, seeds: Path, home: Path
) -> None:
    document = replay(home, next(seeds.glob(f"{log}_*.txt")))
    assert_sound(document)
    assert document["recorded"]["baseline"]["degenerate"] is True
    observations = document["observations"]
    assert len(observations) == len(EXPECTED[log])
    for observation, expected in zip(observations, EXPECTED[log], strict=True):
        assert observation["stage"] != "apply", observation["message"]
        if expected is None:
            assert (observation["stage"], observation["run"]["outcome"]) == ("done", "succeeded")
            assert observation["run"]["comparison"]["metrics"]
            continue
        kind, function = expected
        (problem,) = [p for p in observation["problems"] if p["severity"] == "error"]
        assert (observation["stage"], problem["kind"]) == ("validate", kind)
        assert problem["path"] == "experiment.py"
        assert re.search(rf"in (?:\w+\.)?{function}\b", observation["message"])


def aider_log(replies: list[str]) -> str:
    """A chat log in aider's form: every failure shown twice, as where the model's API refused to answer."""
    idea = "Usage-weighted penalty"
    lines = [
        "\n# aider chat started at 2026-01-02 03:04:05\n\n",
        f"#### Your goal is to implement the following idea: {idea}.  ",
        "#### The proposed experiment is as follows: weight the penalty by usage.  ",
        "#### You are given a total of up to 10 runs to complete the necessary experiments.  \n",
    ]
    for reply in replies:
        lines += [
            reply,
            "\n> Tokens: 1k sent, 1k received.  ",
            "> Applied edit to experiment.py  \n",
        ]
        for _ in range(2):
            lines += ["#### Run failed with the following error   ", "#### loading: 100%|█| 3/3  "]
            lines += ["> litellm.BadRequestError: Error code: 400 - successive user messages  \n"]
    return "\n".join(lines)


def test_a_log_of_our_own_with_a_fault_and_its_mending(home: Path, tmp_path: Path) -> None:
    proposals = files("agent_runner.surfaces.cli") / "demo_proposals"
    replies = [(proposals / name).read_text() for name in ("2-wrong-object.md", "3-mended.md")]
    log = tmp_path / "chat.md"
    log.write_text(aider_log(replies))
    document = replay(home, log)
    assert_sound(document)
    faulty, mended = document["observations"]
    assert (faulty["stage"], faulty["problems"][0]["kind"]) == ("validate", "attribute_error")
    assert mended["run"]["outcome"] == "succeeded", mended["message"]
    assert document["recorded"]["replies"][0]["unchanged_reruns"] == 2
    one = agent_runner(home, "diff", document["idea"], "1")
    assert "+            self.ae.usage.lerp_" in one.stdout


def test_the_baseline_means_something(home: Path) -> None:
    """The language model's probes are good, and the trained SAE lies clearly between chance and them."""
    created = agent_runner(home, "idea", "new", "--title", "Only the baseline")
    baseline = agent_runner(home, "baseline", created.stdout.strip(), "--json")
    run = json.loads(baseline.stdout)["run"]
    metrics = run["metrics"]
    assert metrics["llm_test_accuracy"] >= 0.80
    assert 0.60 < metrics["sae_top_1_test_accuracy"] < metrics["sae_test_accuracy"]
    assert metrics["sae_test_accuracy"] <= metrics["llm_test_accuracy"] + 0.02
    assert metrics["explained_variance"] > 0.5
    assert metrics["l0"] > 0
    assert run["environment"]["device"] in ("cpu", "cuda:0")


def test_the_demo_goes_as_scripted(home: Path) -> None:
    ended = agent_runner(home, "demo", "--json")
    assert ended.returncode == 0, ended.stderr
    observations = json.loads(ended.stdout)["observations"]
    assert [o["stage"] for o in observations] == ["apply", "validate", "done", "validate"]
    kinds = [[p["kind"] for p in o["problems"] if p["severity"] == "error"] for o in observations]
    assert kinds == [["no_match"], ["attribute_error"], [], ["already_run"]]
    assert [o["budget"]["charged"] for o in observations] == [False, False, True, False]
    changed = Path(observations[2]["links"]["diff"]).read_text()
    assert "-            self.usage.lerp_" in changed
    assert "+            self.ae.usage.lerp_" in changed
