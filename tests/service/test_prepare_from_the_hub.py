"""Data sets of the hub on their way into a run: read by `prepare`, stored, and no network after that."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_stand_in import FILES, Fault, Hub, Repository, running
from sandbox_jobs import need

from agent_runner.records import Idea, RunResult
from agent_runner.service import Runner
from agent_runner.service.bookkeeping import Books, check
from agent_runner.service.collecting import collect

pytest.importorskip("datasets", reason="a machine for the server alone has no `datasets`")
pytestmark = pytest.mark.sae

LEVELS = pytest.mark.parametrize("level", ["L0", "L2"])
TOKEN = "hf_member"

PREPARE = """\
import json
import os

from datasets import load_dataset

news = load_dataset("org/news")
lines = load_dataset("org/lines", split="train", streaming=True)
whole = load_dataset("org/lines", split="train")
nested = load_dataset("org/nested", split="train", streaming=True)

leaked = [name for name, value in os.environ.items() if "hf_" in value]
made = {
    "train": len(news["train"]),
    "test": len(news["test"]),
    "label": news["train"][3]["label"],
    "streamed": sum(1 for line in lines),
    "lines": len(whole),
    "nested": sum(1 for line in nested),
    "leaked": leaked,
    "network": os.environ["AGENT_RUNNER_NETWORK"],
}
with open(os.path.join(os.environ["AGENT_RUNNER_CACHE"], "made.json"), "w") as file:
    json.dump(made, file)
"""

EXPERIMENT = """\
import argparse
import json
import os


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out_dir", type=str, default="run_0")
    args = parser.parse_args()
    os.makedirs(args.out_dir, exist_ok=True)
    path = os.path.join(os.environ["AGENT_RUNNER_CACHE"], "made.json")
    made = json.load(open(path)) if os.path.exists(path) else {}
    made["run_network"] = os.environ["AGENT_RUNNER_NETWORK"] + os.environ["HF_DATASETS_OFFLINE"]
    step = 0.5
    print(json.dumps(made))
    with open(os.path.join(args.out_dir, "final_info.json"), "w") as file:
        json.dump({"metrics": {"step": step, "lines": made.get("lines", 0)}}, file)
"""

SETTINGS = """\
name = "reads-the-hub"
editable = ["experiment.py"]

[prepare]
command = "python prepare.py"
network = true
"""


def parquet(**columns: list[object]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    data = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), data)
    return data.getvalue()


def jsonl(count: int) -> bytes:
    return b"".join(json.dumps({"text": f"line {i}"}).encode() + b"\n" for i in range(count))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with running() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.accounts = {TOKEN: frozenset({"org/gated"})}
        labels = [i % 2 for i in range(40)]
        news = parquet(text=[f"news {i}" for i in range(40)], label=labels)
        hub.repositories = {
            "org/news": Repository(
                {
                    "data/train-00000-of-00001.parquet": news,
                    "data/test-00000-of-00001.parquet": parquet(text=["a", "b"], label=[0, 1]),
                },
                kind="dataset",
            ),
            "org/lines": Repository({"train.jsonl": jsonl(600)}, kind="dataset"),  # large: redirected
            "org/nested": Repository({"en/part/train.jsonl": jsonl(5)}, kind="dataset"),
        }
        yield hub


def create(runner: Runner, folder: Path, level: str, settings: str = SETTINGS) -> Idea:
    folder.mkdir(parents=True)
    (folder / "experiment.py").write_text(EXPERIMENT)
    (folder / "prepare.py").write_text(PREPARE)
    (folder / "template.toml").write_text(settings)
    return runner.create_idea(level, template=folder, sandbox=level)


def baseline(runner: Runner, idea: Idea) -> tuple[RunResult, str]:
    """Its result, and what `prepare` said on stderr."""
    run = runner.baseline(idea.id).run
    assert run is not None
    said = runner._workspace.home.baseline(str(run.fingerprint)).folder / "prepare" / "stderr.log"
    return run, said.read_text()


@LEVELS
def test_data_sets_are_read_by_prepare(
    level: str, runner: Runner, hub: Hub, tmp_path: Path, home: Path
) -> None:
    need(level)
    run, said = baseline(runner, create(runner, tmp_path / "template", level))
    assert [f.code for f in run.findings if f.code == "cold-cache"] == [], said
