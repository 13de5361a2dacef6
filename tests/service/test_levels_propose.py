"""Proposals at every level of isolation: the same results, and the level on record."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from sandbox_jobs import need

from agent_runner.errors import SandboxUnavailable
from agent_runner.records import LevelReport, Outcome
from agent_runner.service import Runner
from agent_runner.settings import Settings

LEVELS = ["L0", "L1", "L2", "L3"]
RATE = "        self.rate = 0.1"
Edit = Callable[[str, str], str]


@pytest.mark.parametrize("level", LEVELS)
def test_a_run_whose_output_folder_must_not_exist_before(
    level: str, runner: Runner, template: Path, edit: Edit, home: Path
) -> None:
    need(level)
    script = template / "experiment.py"
    script.write_text(script.read_text().replace("args.out_dir, exist_ok=True", "args.out_dir"))
    idea = runner.create_idea(level, template=template, sandbox=level)
    run = runner.propose(idea.id, edit(RATE, "        self.rate = 0.2")).run
    assert run is not None and run.outcome is Outcome.SUCCEEDED, run
    assert run.metrics == {"loss": 0.8} and run.comparison is not None
    assert run.sandbox.level == level and run.sandbox.digest
    written = home / "worktrees" / idea.id / "run_1" / "final_info.json"
    assert json.loads(written.read_text())["toy"]["means"] == {"loss": 0.8}


@pytest.mark.parametrize("level", LEVELS)
def test_a_smoke_run_and_its_results(
    level: str, runner: Runner, template: Path, edit: Edit
) -> None:
    need(level)
    (template / "template.toml").write_text("[smoke]\ntime_s = 60\n")
    idea = runner.create_idea(level, template=template, sandbox=level)
    run = runner.propose(idea.id, edit(RATE, "        self.rate = 0.2")).run
    assert run is not None and run.outcome is Outcome.SUCCEEDED
    fails = edit("return 1.0 - self.model.rate", "return 1.0 - self.model.rate / 0")
    observation = runner.propose(idea.id, fails)
    assert observation.run is None and observation.problems[0].kind == "zero_division"


@pytest.mark.parametrize("level", ["L1", "L2", "L3"])
def test_a_cache_of_data_sets_can_be_read_where_it_cannot_be_written(
    level: str,
    runner: Runner,
    template: Path,
    edit: Edit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need(level)
    cache = tmp_path / "data sets"
    (cache / "texts" / "0.0.0").mkdir(parents=True)
    (cache / "texts" / "0.0.0" / "train.arrow").write_text("0.25")
    (cache / "texts" / "0.0.0_builder.lock").touch(mode=0o600)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(cache))
    script = template / "experiment.py"
    read = (
        "    texts = os.path.join(os.environ['HF_DATASETS_CACHE'], 'texts')\n"
        "    open(os.path.join(texts, '0.0.0_builder.lock'), 'w').close()\n"
        "    loss = float(open(os.path.join(texts, '0.0.0', 'train.arrow')).read())\n"
    )
    line = '    print("loss", loss)'
    script.write_text(script.read_text().replace(line, read + line))
    idea = runner.create_idea(level, template=template, sandbox=level)
    run = runner.propose(idea.id, edit(RATE, "        self.rate = 0.2")).run
    assert run is not None and run.metrics == {"loss": 0.25}, run
    assert sorted(os.listdir(cache / "texts")) == ["0.0.0", "0.0.0_builder.lock"]


def test_less_than_what_is_required_is_refused_before_anything_is_made(
    template: Path, home: Path
) -> None:
    strict = Runner(home, settings=Settings(require_level="L1"))
    with pytest.raises(SandboxUnavailable, match="L0 is less than L1, which is required"):
        strict.create_idea("Careless", template=template, sandbox="L0")
    assert strict.ideas() == []
    (template / "template.toml").write_text('[sandbox]\nrequire_level = "L2"\n')
    with pytest.raises(SandboxUnavailable, match="L1 is less than L2"):
        Runner(home).create_idea("Careless", template=template, sandbox="L1")


def test_what_was_allowed_when_the_idea_began_is_refused_once_more_is_required(
    runner: Runner, template: Path, home: Path, edit: Edit
) -> None:
    idea = runner.create_idea("Earlier", template=template, sandbox="L0")
    strict = Runner(home, settings=Settings(require_level="L1"))
    with pytest.raises(SandboxUnavailable, match="L0 is less than L1"):
        strict.propose(idea.id, edit(RATE, "        self.rate = 0.2"))
    assert runner.show(idea.id).attempts == (), "no attempt was begun"


def test_a_run_without_any_sandbox_says_so_where_nobody_asked_for_that(
    runner: Runner, template: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandboxing = runner._workspace.sandboxing
    lacking = LevelReport(level="L2", works=False, reason="bwrap is not installed")
    monkeypatch.setattr(sandboxing, "choose", lambda *_: "L0")
    monkeypatch.setattr(sandboxing, "_tried", {"L2": lacking})
    idea = runner.create_idea("Bare", template=template)
    observation = runner.propose(idea.id, edit(RATE, "        self.rate = 0.2"))
    assert observation.run is not None and observation.run.sandbox.level == "L0"
    (warning,) = [p for p in observation.problems if p.kind == "no_sandbox"]
    assert "bwrap is not installed" in warning.message and warning.message in observation.message
    asked = runner.create_idea("Asked", template=template, sandbox="L0")
    observation = runner.propose(asked.id, edit(RATE, "        self.rate = 0.3"))
    assert "no_sandbox" not in [problem.kind for problem in observation.problems]
