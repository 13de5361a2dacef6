"""Data sets of the hub on their way into a run: read by `prepare`, stored, and no network after that."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_stand_in import FILES, Hub, Repository, running
from sandbox_jobs import need

from agent_runner.paths import file_lock
from agent_runner.records import Idea, Outcome, RunResult
from agent_runner.service import Runner
from agent_runner.service.bookkeeping import Books, check
from agent_runner.service.collecting import collect

pytest.importorskip("datasets", reason="a machine for the server alone has no `datasets`")
pytestmark = pytest.mark.sae

Edit = Callable[[str, str], str]

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

OFFLINE = """\
import json
import os

from datasets import load_dataset

news = load_dataset("org/news", split="train")
with open(os.path.join(os.environ["AGENT_RUNNER_CACHE"], "made.json"), "w") as file:
    json.dump({"train": len(news)}, file)
"""

WITH_MODEL = """\
import json
import os

from datasets import load_dataset
from huggingface_hub import hf_hub_download
from transformers import AutoConfig

granted = json.loads(os.environ["AGENT_RUNNER_MODELS"])["org/gated"]["granted"]
kind = AutoConfig.from_pretrained(granted).model_type
weights = os.path.getsize(hf_hub_download(granted, "model.safetensors"))
other = open(hf_hub_download("org/small", "tokenizer.json")).read()
lines = load_dataset("org/lines", split="train")
with open(os.path.join(os.environ["AGENT_RUNNER_CACHE"], "made.json"), "w") as file:
    json.dump({"kind": kind, "weights": weights, "other": other, "lines": len(lines)}, file)
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
    importlib.import_module("huggingface_hub.hf_api")  # takes its time, once
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
            "org/lines": Repository(
                {"train.jsonl": jsonl(600)}, kind="dataset"
            ),  # large: redirected
            "org/nested": Repository({"en/part/train.jsonl": jsonl(5)}, kind="dataset"),
        }
        yield hub


def create(
    runner: Runner,
    folder: Path,
    level: str,
    settings: str = SETTINGS,
    prepare: str = PREPARE,
) -> Idea:
    need(level)
    folder.mkdir(parents=True)
    (folder / "experiment.py").write_text(EXPERIMENT)
    (folder / "prepare.py").write_text(prepare)
    (folder / "template.toml").write_text(settings)
    return runner.create_idea(level, template=folder, sandbox=level)


def baseline(runner: Runner, idea: Idea) -> tuple[RunResult, str]:
    """Its result, which succeeded, and what `prepare` said on stderr."""
    run = runner.baseline(idea.id).run
    assert run is not None and run.outcome is Outcome.SUCCEEDED, run
    said = runner._workspace.home.baseline(str(run.fingerprint)).folder / "prepare" / "stderr.log"
    return run, said.read_text()


def is_cold(run: RunResult) -> bool:
    return "cold-cache" in [finding.code for finding in run.findings]


def made(home: Path) -> dict[str, object]:
    """What `prepare` has stored."""
    found: dict[str, object] = json.loads((home / "cache" / "made.json").read_text())
    return found


def below(folder: Path) -> set[tuple[str, int]]:
    """Every entry of a tree, and when it was changed last."""
    return {(str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*")}


def user_reads(name: str) -> None:
    """The user reads a data set by hand, with the caches that the server's environment names."""
    code = f"import datasets; datasets.load_dataset({name!r})"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=os.environ)


READ = {
    **{"train": 40, "test": 2, "label": 1, "streamed": 600, "lines": 600, "nested": 5},
    **{"leaked": [], "network": "1"},
}


@pytest.mark.parametrize("level", ["L0", "L1", "L2"])
def test_data_sets_are_read_by_prepare_and_runs_need_no_network(
    level: str, runner: Runner, hub: Hub, tmp_path: Path, home: Path, edit: Edit
) -> None:
    idea = create(runner, tmp_path / "template", level)
    run, said = baseline(runner, idea)
    assert not is_cold(run), said
    assert made(home) == READ
    assert run.metrics["lines"] == 600 and run.sandbox.level == level
    assert hub.hosts_with_token == set()
    assert not (tmp_path / "hub").exists() and not (tmp_path / "datasets").exists()
    asked = len(hub.requests)
    after = runner.propose(idea.id, edit("    step = 0.5", "    step = 0.25")).run
    assert after is not None and after.metrics["lines"] == 600
    assert len(hub.requests) == asked, "a run asks nobody"
    log = runner._workspace.paths(idea).run(1).stdout.read_text()
    assert json.loads(log)["run_network"] == "01"


def test_what_one_prepare_has_downloaded_another_one_finds(
    runner: Runner, hub: Hub, tmp_path: Path, home: Path
) -> None:
    """At L2 each job may be a user of its own."""
    baseline(runner, create(runner, tmp_path / "first", "L2"))
    fetched = hub.asked("GET .*resolve/.*parquet")
    other = create(runner, tmp_path / "second", "L2", prepare=f"{PREPARE}\n# another template\n")
    run, said = baseline(runner, other)
    assert not is_cold(run), said
    assert fetched == 2 and hub.asked("GET .*resolve/.*parquet") == fetched
    assert [finding.code for finding in check(Books.of(home)).findings] == []
    before = below(home / "cache")
    assert {item.what for item in collect(runner._workspace).items if not item.freed} == {"cache"}
    assert below(home / "cache") == before


@LEVELS
def test_data_sets_of_the_user_are_read_where_the_hub_is_not_to_be_asked(
    level: str,
    runner: Runner,
    hub: Hub,
    tmp_path: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need(level)
    user_reads("org/news")
    before = below(tmp_path / "hub") | below(tmp_path / "datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    asked = len(hub.requests)
    run, said = baseline(runner, create(runner, tmp_path / "template", level, prepare=OFFLINE))
    assert not is_cold(run), said
    assert made(home) == {"train": 40} and len(hub.requests) == asked
    assert below(tmp_path / "hub") | below(tmp_path / "datasets") == before


@LEVELS
def test_a_model_that_was_granted_is_found_without_a_token(
    level: str, runner: Runner, hub: Hub, tmp_path: Path, home: Path
) -> None:
    """It is gated: the runner has fetched it with the token, and `prepare` has none."""
    hub.repositories |= {
        "org/gated": Repository(FILES, gated=True),
        "org/small": Repository({"tokenizer.json": b"{}"}),
    }
    settings = SETTINGS + '\n[[models]]\nname = "org/gated"\n'
    idea = create(runner, tmp_path / "template", level, settings, WITH_MODEL)
    run, said = baseline(runner, idea)
    assert run.model is None and not is_cold(run), said
    weights = len(FILES["model.safetensors"])
    assert made(home) == {"kind": "gpt_neox", "weights": weights, "other": "{}", "lines": 600}
    assert hub.asked("GET /org/gated/resolve/.*/model.safetensors") == 1, "by the runner"
    assert [path.name for path in (tmp_path / "hub").glob("*--*")] == ["models--org--gated"]


@LEVELS
def test_a_model_that_is_newer_on_the_hub_is_not_fetched_in_passing(
    level: str, runner: Runner, hub: Hub, tmp_path: Path
) -> None:
    """Runs use what was granted; in a sandbox nothing may be prepared by another version."""
    hub.repositories |= {
        "org/gated": Repository(FILES),
        "org/small": Repository({"tokenizer.json": b"{}"}),
    }
    settings = SETTINGS + '\n[[models]]\nname = "org/gated"\n'
    for name in ("first", "second"):
        idea = create(runner, tmp_path / name, level, settings, f"# {name}\n{WITH_MODEL}")
        before = below(tmp_path / "hub")
        run, said = baseline(runner, idea)
        hub.repositories["org/gated"] = Repository({**FILES, "README.md": b"newer"})
    assert below(tmp_path / "hub") == before
    assert is_cold(run) == (level == "L2"), said


def test_a_data_set_that_cannot_be_had_stops_nothing(
    runner: Runner, hub: Hub, tmp_path: Path
) -> None:
    del hub.repositories["org/news"]
    run, said = baseline(runner, create(runner, tmp_path / "template", "L2"))
    assert is_cold(run) and run.metrics == {"step": 0.5, "lines": 0}
    assert "DatasetNotFoundError" in said


def test_one_prepare_waits_for_another(
    runner: Runner, hub: Hub, tmp_path: Path, home: Path
) -> None:
    """Two at once would be two users in one cache, and the end of one would close it to the other."""
    idea = create(runner, tmp_path / "template", "L0", prepare="")
    told: list[str] = []
    with contextlib.ExitStack() as held:
        held.enter_context(file_lock(home / "cache.lock"))

        def hear(what: str, detail: str) -> None:
            told.append(f"{what}: {detail}")
            if what == "prepare" and "waiting" in detail:
                held.close()

        run = runner.baseline(idea.id, progress=hear).run
    assert run is not None and run.outcome is Outcome.SUCCEEDED
    steps = [line for line in told if line.startswith("prepare")]
    assert "for another baseline; waiting" in steps[0] and "python prepare.py" in steps[1]
