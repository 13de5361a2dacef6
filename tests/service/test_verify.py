"""`verify`: measured numbers move with the seeds, written ones do not; and it touches nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from models_template import write_template

from agent_runner.errors import ModelUnavailable, UnknownRun, UsageError
from agent_runner.records import Idea, Verification
from agent_runner.service import Runner
from agent_runner.service.bookkeeping import Books, check
from agent_runner.service.collecting import collect

Edit = Callable[[str, str], str]

FASTER = ("        self.rate = 0.1", "        self.rate = 0.2")
MEASURED = '    metrics = {"accuracy": skill + Trainer().rate + noise, "reference": skill}'
WRITTEN = '    metrics = {"accuracy": 0.93, "reference": 0.88}'
HALF = '    metrics = {"accuracy": skill + noise, "gain": 0.4217, "reference": skill}'
FIXED = "    noise = random.Random(7).gauss(0, 0.01)"
NOISE = "    noise = random.Random(SEED + OFFSET).gauss(0, 0.01)"


@pytest.fixture
def template(tmp_path: Path) -> Path:
    return write_template(tmp_path / "models")


@pytest.fixture
def idea(runner: Runner, template: Path) -> Idea:
    return runner.create_idea("Verified", template=template)


def codes(found: Verification) -> set[str]:
    return {finding.code for finding in found.findings}


def test_measured_numbers_move(runner: Runner, idea: Idea, edit: Edit) -> None:
    observation = runner.propose(idea.id, edit(*FASTER))
    before = (runner.show(idea.id), runner.messages(idea.id))
    found = runner.verify(idea.id, 1)
    assert found.verdict == "moves", found.message
    assert [(s.file, s.value, s.moved) for s in found.seeds] == [("experiment.py", 42, 43)]
    assert found.comparison is not None and found.comparison.baseline == "run_1"
    pair = found.comparison.metrics["accuracy"]
    assert pair.difference != 0 and pair.noise_units is not None
    assert "move with the seeds" in found.message and "This used no run" in found.message
    assert (runner.show(idea.id), runner.messages(idea.id)) == before, "it changes nothing"
    assert runner.show(idea.id).budget.used == 1
    worktree = Path(str(observation.links["worktree"]))
    assert "SEED = 42" in (worktree / "experiment.py").read_text()
    assert not (worktree.parent / f"verify--{idea.id}").exists()
    records = Path(str(found.links["records"]))
    assert Verification.model_validate_json((records / "verification.json").read_text()) == found
    assert (records / "worktree" / "run_1" / "final_info.json").exists(), "its output is kept"
    collect(runner._workspace)
    assert [f.code for f in check(Books.of(runner._workspace.home.root)).findings] == []


def test_written_numbers_do_not(runner: Runner, idea: Idea, edit: Edit) -> None:
    assert runner.propose(idea.id, edit(MEASURED, WRITTEN)).accepted
    found = runner.verify(idea.id, 1)
    assert (found.verdict, codes(found)) == ("hard_coded", {"hard-coded"}), found.message
    assert "do not come from what it computes" in found.message


def test_a_seed_that_stands_in_a_call_is_moved_too(runner: Runner, idea: Idea, edit: Edit) -> None:
    assert runner.propose(idea.id, edit(NOISE, FIXED)).accepted
    found = runner.verify(idea.id, 1, seed_offset=5)
    assert found.verdict == "moves" and {s.value: s.moved for s in found.seeds} == {42: 47, 7: 12}


def test_one_written_number_among_measured_ones(runner: Runner, idea: Idea, edit: Edit) -> None:
    assert runner.propose(idea.id, edit(MEASURED, HALF)).accepted
    found = runner.verify(idea.id, 1)
    assert (found.verdict, codes(found)) == ("doubtful", {"unmoved"})
    assert "gain" in found.message and "reference," not in str(found.findings)


def test_the_baseline_and_twice(runner: Runner, idea: Idea) -> None:
    runner.baseline(idea.id)
    first, second = runner.verify(idea.id, 0), runner.verify(idea.id, 0, seed_offset=2)
    assert (first.number, second.number) == (1, 2)
    assert first.comparison is not None and second.comparison is not None
    values = {f.comparison.metrics["accuracy"].value for f in (first, second) if f.comparison}
    assert len(values) == 2


def test_code_that_fails_with_another_seed(runner: Runner, idea: Idea, edit: Edit) -> None:
    fragile = f"{NOISE}\n    assert SEED == 42, SEED"
    assert runner.propose(idea.id, edit(NOISE, fragile)).accepted
    found = runner.verify(idea.id, 1)
    assert found.verdict == "failed" and found.failure is not None
    assert found.failure.exception_type == "AssertionError" and "AssertionError" in found.message


def test_a_program_without_seeds_proves_nothing(
    runner: Runner, tmp_path: Path, edit: Edit, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "experiment.py").write_text(
        "import argparse, json, os\np = argparse.ArgumentParser()\np.add_argument('--out_dir')\n"
        "out = p.parse_args().out_dir\nos.makedirs(out)\n"
        "json.dump({'loss': 0.5}, open(os.path.join(out, 'final_info.json'), 'w'))\n"
    )
    idea = runner.create_idea("Plain", template=folder)
    runner.baseline(idea.id)
    found = runner.verify(idea.id, 0)
    assert found.verdict == "undecided", found.message
    assert "no seed that could be moved" in found.message


def test_what_cannot_be_verified(
    runner: Runner, idea: Idea, edit: Edit, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnknownRun):
        runner.verify(idea.id, 1)
    runner.propose(idea.id, edit(*FASTER))
    with pytest.raises(UsageError, match="moved by 0"):
        runner.verify(idea.id, 1, seed_offset=0)
    (runner._workspace.paths(idea).worktree / "models" / "small" / "config.json").unlink()
    with pytest.raises(ModelUnavailable, match="org/small"):
        runner.verify(idea.id, 1)


def test_what_a_killed_server_left_is_in_nobodys_way(
    runner: Runner, idea: Idea, edit: Edit
) -> None:
    runner.propose(idea.id, edit(*FASTER))
    name = f"verify--{idea.id}"
    runner._workspace.repository.add_worktree(name, idea.base_commit)
    left = runner._workspace.home.worktrees / name
    (left / "experiment.py").write_text("half done")
    (left / "run_1").mkdir()
    (left / "run_1" / "final_info.json").write_text('{"metrics": {"accuracy": 99}}')
    assert runner.verify(idea.id, 1).verdict == "moves"
