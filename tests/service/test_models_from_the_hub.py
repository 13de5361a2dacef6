"""A model of the hub on its way into a run: fetched by the runner, refused, replaced. The hub is a stand-in."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_stand_in import FILES, Fault, Hub, Repository, running

from agent_runner.records import Idea, Observation, RunResult
from agent_runner.service import Runner

Edit = Callable[[str, str], str]

EXPERIMENT = """\
import argparse
import json
import os

from huggingface_hub import constants

def grant(name):
    table = json.loads(os.environ["AGENT_RUNNER_MODELS"])
    answer = table.get(name) or table["*"]
    if answer["granted"] is None:
        raise LookupError(f"{name} cannot be used: {answer['reason']}")
    used = {"requested": name, "granted": answer["granted"], "reason": answer["reason"]}
    with open(os.path.join(os.environ["AGENT_RUNNER_RECORD_DIR"], "events.jsonl"), "a") as file:
        file.write(json.dumps({"model": used}) + "\\n")
    return answer["granted"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out_dir", type=str, default="run_0")
    args = parser.parse_args()
    os.makedirs(args.out_dir, exist_ok=True)
    model_name = "org/gated"
    granted = grant(model_name)
    size = 0
    if granted != "shipped":
        folder = os.path.join(constants.HF_HUB_CACHE, "models--" + granted.replace("/", "--"))
        commit = open(os.path.join(folder, "refs", "main")).read()
        size = os.path.getsize(os.path.join(folder, "snapshots", commit, "model.safetensors"))
    leaked = [name for name, value in os.environ.items() if "hf_" in value]
    if leaked:
        raise RuntimeError(f"the token is in {leaked}")
    step = 0.5
    with open(os.path.join(args.out_dir, "final_info.json"), "w") as file:
        json.dump({"metrics": {"size": size, "step": step}}, file)
"""

SETTINGS = """\
name = "hub"
editable = ["experiment.py"]

[smoke]
command = "python experiment.py --out_dir={out_dir}"

[[models]]
name = "org/gated"

[[models]]
name = "org/open"

[[models]]
name = "shipped"
path = "shipped"
"""

STEP = ("    step = 0.5", "    step = 0.25")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    importlib.import_module("huggingface_hub.hf_api")  # takes its time, once
    with running() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.repositories = {
            "org/gated": Repository(FILES, gated=True),
            "org/open": Repository(FILES),
        }
        hub.accounts = {"hf_member": frozenset({"org/gated"}), "hf_stranger": frozenset()}
        yield hub


@pytest.fixture
def idea(runner: Runner, tmp_path: Path) -> Idea:
    folder = tmp_path / "template"
    (folder / "shipped").mkdir(parents=True)
    (folder / "shipped" / "config.json").write_text("{}")
    (folder / "experiment.py").write_text(EXPERIMENT)
    (folder / "template.toml").write_text(SETTINGS)
    return runner.create_idea("Hub", template=folder)


def ran(observation: Observation) -> RunResult:
    assert observation.run is not None and observation.accepted, observation.message
    return observation.run


def test_a_gated_model_is_replaced_by_one_that_is_fetched(
    runner: Runner, idea: Idea, hub: Hub, edit: Edit
) -> None:
    told: list[str] = []
    run = ran(runner.baseline(idea.id, progress=lambda what, detail: told.append(what)))
    assert run.model is not None, run
    assert (run.model.requested, run.model.granted) == ("org/gated", "org/open")
    assert "gated" in run.model.reason and "HF_TOKEN" in run.model.remedy
    assert run.metrics["size"] == len(FILES["model.safetensors"])
    assert "download org/open" in told
    observation = runner.propose(idea.id, edit(*STEP))
    assert ran(observation).comparison is not None
    assert "Language model: org/open, instead of org/gated" in observation.message
    assert hub.asked("GET /org/open/resolve/.*safetensors") == 1, "fetched once"


def test_with_a_token_the_gated_one_is_used_and_no_run_sees_the_token(
    runner: Runner, idea: Idea, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_member")
    run = ran(runner.baseline(idea.id))
    assert run.model is not None and run.model.granted == "org/gated"
    written = [
        path
        for path in runner._workspace.home.root.rglob("*")
        if path.is_file() and b"hf_member" in path.read_bytes()
    ]
    assert written == [], "nor does any file"


def test_a_model_that_arrives_damaged_is_passed_over(runner: Runner, idea: Idea, hub: Hub) -> None:
    hub.faults = [Fault("safetensors|/cdn/", corrupt=True)]
    run = ran(runner.baseline(idea.id))
    assert run.model is not None and run.model.granted == "shipped"
    assert runner.show(idea.id).budget.used == 0


def test_an_edit_that_names_another_model_gets_it_fetched(
    runner: Runner, idea: Idea, hub: Hub, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_member")
    runner.baseline(idea.id)
    assert hub.asked("/org/open/resolve/") == 0, "nobody has asked for it"
    observation = runner.propose(
        idea.id, edit('    model_name = "org/gated"', '    model_name = "org/open"')
    )
    run = ran(observation)
    assert run.model is not None and run.model.granted == "org/open"
    assert run.comparison is not None and run.comparison.baseline == f"baseline {run.fingerprint}"
    assert "model_changed" in {problem.kind for problem in observation.problems}


def test_a_hub_that_cannot_be_reached_stops_nothing(
    runner: Runner, idea: Idea, hub: Hub, monkeypatch: pytest.MonkeyPatch, edit: Edit
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    observation = runner.propose(idea.id, edit(*STEP))
    run = ran(observation)
    assert run.model is not None and run.model.granted == "shipped"
    assert "127.0.0.1:9" in run.model.reason


def test_an_edit_that_names_what_the_hub_does_not_have(
    runner: Runner, idea: Idea, hub: Hub, edit: Edit
) -> None:
    """As in a recording: the name of a model that does not exist."""
    observation = runner.propose(
        idea.id,
        edit('    model_name = "org/gated"', '    model_name = "org/open-it"'),
    )
    run = ran(observation)
    assert run.model is not None and run.model.granted == "org/open"
    warning = next(p for p in observation.problems if p.kind == "model_replaced")
    assert "org/open-it" in warning.message and "org/open: can be used" in warning.message
    assert json.loads(observation.model_dump_json())["run"]["model"]["requested"] == "org/open-it"
