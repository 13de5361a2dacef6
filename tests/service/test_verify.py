"""`verify`: measured numbers move with the seeds, written ones do not; and it touches nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from models_template import write_template

from agent_runner.errors import ModelUnavailable, UnknownRun, UsageError
from agent_runner.execution import job_files
from agent_runner.paths import JobPaths
from agent_runner.records import Idea, Outcome, Verification
from agent_runner.service import Runner, verifying
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
    assert not [*worktree.parent.glob("verify*")]
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


PLAIN = """\
import argparse, json, os, time
p = argparse.ArgumentParser()
p.add_argument("--out_dir")
out = p.parse_args().out_dir
os.makedirs(out)
metrics = {"loss": 0.5, "accuracy": 0.81234}
json.dump(metrics, open(os.path.join(out, "final_info.json"), "w"))
"""


def plain(folder: Path, text: str, settings: str = "") -> Path:
    """A template without models, seeds and a noise floor."""
    folder.mkdir()
    (folder / "experiment.py").write_text(text)
    (folder / "template.toml").write_text(settings)
    return folder


def test_a_program_without_seeds_proves_nothing(runner: Runner, tmp_path: Path) -> None:
    idea = runner.create_idea("Plain", template=plain(tmp_path / "plain", PLAIN))
    runner.baseline(idea.id)
    found = runner.verify(idea.id, 0)
    assert (found.verdict, codes(found)) == ("undecided", {"no-seeds"}), found.message
    assert "no seed that could be moved" in found.message


def test_a_clock_beside_a_written_number_proves_nothing_either(
    runner: Runner, tmp_path: Path
) -> None:
    text = PLAIN.replace('"loss": 0.5', '"seconds": time.perf_counter()')
    idea = runner.create_idea("Clock", template=plain(tmp_path / "clock", text))
    runner.baseline(idea.id)
    found = runner.verify(idea.id, 0)
    assert (found.verdict, codes(found)) == ("undecided", {"no-seeds", "unmoved"}), found.message
    assert "accuracy" in next(f.message for f in found.findings if f.code == "unmoved")


def test_whole_numbers_that_stay_prove_nothing(runner: Runner, tmp_path: Path) -> None:
    text = PLAIN.replace("0.5", "3").replace("0.81234", "1").replace("p =", "SEED = 1\np =", 1)
    idea = runner.create_idea("Whole", template=plain(tmp_path / "whole", text))
    runner.baseline(idea.id)
    found = runner.verify(idea.id, 0)
    assert (found.verdict, codes(found)) == ("undecided", {"nothing-shown"}), found.message


@pytest.mark.parametrize(("change", "verdict"), [(FASTER, "undecided"), (None, "hard_coded")])
def test_on_another_machine_only_numbers_that_stay_prove_something(
    runner: Runner,
    idea: Idea,
    edit: Edit,
    monkeypatch: pytest.MonkeyPatch,
    change: tuple[str, str] | None,
    verdict: str,
) -> None:
    assert runner.propose(idea.id, edit(*(change or (MEASURED, WRITTEN)))).accepted
    monkeypatch.setattr("agent_runner.service.fingerprints._packages", lambda _: "another torch")
    found = runner.verify(idea.id, 1)
    assert found.verdict == verdict, found.message
    assert "environment-changed" in codes(found) and "packages" in found.message
    again = json.loads((Path(str(found.links["records"])) / "result.json").read_text())
    assert again["fingerprint"] != runner.run(idea.id, 1).fingerprint


def test_a_run_that_told_of_no_model_gets_the_models_that_it_had(
    runner: Runner, tmp_path: Path, edit: Edit
) -> None:
    folder = write_template(tmp_path / "silent")
    program = folder / "experiment.py"
    program.write_text(program.read_text().replace('{"model": used}', "{}"))
    idea = runner.create_idea("Silent", template=folder)
    assert runner.propose(idea.id, edit(*FASTER)).accepted
    assert runner.run(idea.id, 1).model is None
    found = runner.verify(idea.id, 1)
    assert found.verdict == "moves", found.message
    given = json.loads((Path(str(found.links["records"])) / job_files.SPEC).read_text())
    answers = json.loads(given["env"]["AGENT_RUNNER_MODELS"])
    assert answers["org/large"]["granted"] == "org/small"
    # What it had is not there any more: nothing else takes its place.
    (runner._workspace.paths(idea).worktree / "models" / "small" / "config.json").unlink()
    with pytest.raises(ModelUnavailable, match="org/small"):
        runner.verify(idea.id, 1)


def test_a_baseline_that_was_handed_in_is_refused(
    runner: Runner, template: Path, edit: Edit
) -> None:
    handed_in = {"metrics": {"accuracy": 0.7123, "reference": 0.6001}}
    idea = runner.create_idea("Imported", template=template, baseline=handed_in)
    with pytest.raises(UsageError, match="measured elsewhere"):
        runner.verify(idea.id, 0)
    assert runner.propose(idea.id, edit(*FASTER)).accepted
    found = runner.verify(idea.id, 1)
    assert (found.verdict, codes(found)) == ("doubtful", {"unmoved"}), "no noise floor is known"


def test_a_run_that_was_cut_short_is_refused(runner: Runner, tmp_path: Path, edit: Edit) -> None:
    text = PLAIN + "\nimport signal\nRATE = 1\nif RATE == 2 and out == 'run_1': signal.pause()\n"
    folder = plain(tmp_path / "late", text, "[limits]\ntime_s = 2\n")
    idea = runner.create_idea("Late", template=folder)
    observation = runner.propose(idea.id, edit("RATE = 1", "RATE = 2"))
    assert observation.run is not None and observation.run.outcome is Outcome.TIMED_OUT
    assert observation.run.metrics
    with pytest.raises(UsageError, match="run 1 of 'late' was cut short"):
        runner.verify(idea.id, 1)


def test_what_cannot_be_verified(
    runner: Runner, idea: Idea, edit: Edit, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnknownRun):
        runner.verify(idea.id, 1)
    runner.propose(idea.id, edit(*FASTER))
    for offset in (0, 2**32):  # by either, no seed would be another one
        with pytest.raises(UsageError, match=f"moved by {offset}"):
            runner.verify(idea.id, 1, seed_offset=offset)
    (runner._workspace.paths(idea).worktree / "models" / "small" / "config.json").unlink()
    with pytest.raises(ModelUnavailable, match="org/small"):
        runner.verify(idea.id, 1)


# ------------------------------------------------------------ killed, cancelled, beside others

# Hangs where its seeds are moved by 1.
HANGS = """\
SKILL = {"org/large": 0.9, "org/small": 0.6, "org/tiny": 0.3}
if OFFSET == 1 and SEED == 43:
    import signal
    print("hanging", flush=True)
    signal.pause()
"""
KILLED = textwrap.dedent(
    """
    import os, signal, sys
    import agent_runner.service.jobs as jobs
    from agent_runner.service import Runner

    def die_once_it_hangs(job, *args, **kwargs):
        while b"hanging" not in (job.record_dir / "stdout.log").read_bytes():
            os.sched_yield()
        os.kill(os.getpid(), signal.SIGKILL)

    home, idea = sys.argv[1:]
    jobs.wait = die_once_it_hangs
    Runner(home).verify(idea, 1)
    """
)


@pytest.fixture
def hanging(runner: Runner, template: Path, edit: Edit) -> Idea:
    """An idea whose run 1 hangs when it is verified with an offset of 1."""
    idea = runner.create_idea("Hanging", template=template)
    before = 'SKILL = {"org/large": 0.9, "org/small": 0.6, "org/tiny": 0.3}'
    assert runner.propose(idea.id, edit(before, HANGS.rstrip())).accepted
    return idea


@pytest.fixture
def orphan(hanging: Idea, home: Path) -> Path:
    """Records of a verification whose server was killed: its job goes on."""
    command = [sys.executable, "-c", KILLED, str(home), hanging.id]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ})
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    records = home / "ideas" / hanging.id / "verifications" / "1"
    assert job_files.is_locked(str(records / job_files.LOCK)), "it goes on"
    return records


def test_the_next_verification_ends_what_a_killed_server_left(
    runner: Runner, hanging: Idea, orphan: Path, home: Path
) -> None:
    left = home / "worktrees" / f"verify--{hanging.id}--1"
    (left / "run_1" / "final_info.json").parent.mkdir(exist_ok=True)
    (left / "run_1" / "final_info.json").write_text('{"metrics": {"accuracy": 99}}')
    found = runner.verify(hanging.id, 1, seed_offset=2)
    assert (found.number, found.verdict) == (2, "moves"), found.message
    assert not job_files.is_locked(str(orphan / job_files.LOCK))
    assert json.loads((orphan / job_files.EXIT).read_text())["reason"] == "cancelled"
    assert not [*(home / "worktrees").glob("verify*")]
    assert (orphan / "worktree" / "run_1" / "final_info.json").exists(), "its output is kept"
    assert [f.code for f in check(Books.of(home)).findings] == []


def test_orphans_are_ended_for_a_server_that_starts(
    runner: Runner, hanging: Idea, orphan: Path, home: Path
) -> None:
    workspace = runner._workspace
    assert not verifying.is_verifying(workspace, hanging), "its holder is dead"
    verifying.end_orphan_verifications(workspace, hanging)
    assert not job_files.is_locked(str(orphan / job_files.LOCK))
    assert not [*(home / "worktrees").glob("verify*")]
    verifying.end_orphan_verifications(workspace, hanging)  # repeatable
    assert not (orphan / "verification.json").exists(), "it has told nothing"


def test_where_nothing_was_verified_there_are_no_orphans(runner: Runner, idea: Idea) -> None:
    folder = runner._workspace.paths(idea).verifications
    verifying.end_orphan_verifications(runner._workspace, idea)
    assert not folder.exists() and not verifying.is_verifying(runner._workspace, idea)


def test_gc_leaves_an_orphan_that_goes_on_alone_and_takes_a_dead_one(
    runner: Runner, hanging: Idea, orphan: Path, home: Path
) -> None:
    folder = home / "worktrees" / f"verify--{hanging.id}--1"
    collect(runner._workspace)
    assert folder.exists()
    job = runner._workspace.jobs.attach(JobPaths(orphan))
    job.cancel()
    job.wait()
    assert str(folder) in {item.path for item in collect(runner._workspace).items if item.freed}
    assert not folder.exists() and (orphan / "worktree" / "experiment.py").exists()


def test_a_living_verification_is_left_alone(runner: Runner, idea: Idea, edit: Edit) -> None:
    runner.propose(idea.id, edit(*FASTER))
    workspace = runner._workspace
    folder = workspace.paths(idea).verifications
    reasons: dict[str, str] = {}

    def others(label: str, _detail: str) -> None:
        if label != "run_1" or reasons:
            return
        assert verifying.is_verifying(workspace, idea)
        (folder / "1").mkdir(exist_ok=True)
        half = folder / "1" / ".result.json.abcdefgh"  # as one that is being written
        half.write_text("{")
        (folder / "1" / job_files.SPEC).write_text("{}")
        verifying.end_orphan_verifications(workspace, idea)
        collected = collect(Runner(workspace.home.root)._workspace)
        reasons.update({item.path: item.reason for item in collected.items if not item.freed})
        assert half.exists()
        (folder / "1" / job_files.SPEC).unlink()

    found = runner.verify(idea.id, 1, progress=others)
    assert found.verdict == "moves", found.message
    worktree = workspace.home.worktrees / f"verify--{idea.id}--1"
    assert "going on" in reasons[str(folder)] and "going on" in reasons[str(worktree)]


def test_a_verification_can_be_asked_to_end(runner: Runner, hanging: Idea, home: Path) -> None:
    workspace = runner._workspace
    verifying.ask_to_end(workspace, hanging)  # while there was none: it holds for none
    log = home / "ideas" / hanging.id / "verifications" / "1" / "stdout.log"
    over = threading.Event()

    def end() -> None:
        while not over.is_set() and not (log.exists() and "hanging" in log.read_text()):
            over.wait(0.01)
        verifying.ask_to_end(workspace, hanging)

    thread = threading.Thread(target=end)
    thread.start()
    found = runner.verify(hanging.id, 1)
    over.set()
    thread.join()
    assert log.exists() and "hanging" in log.read_text(), "the request before it was not heard"
    assert (found.verdict, found.outcome) == ("failed", Outcome.CANCELLED)
    assert "cancelled" in found.message
    assert runner.verify(hanging.id, 1, seed_offset=2).verdict == "moves"
    assert not workspace.is_cancelled(hanging, -1)


def test_a_request_for_an_attempt_is_not_forgotten(runner: Runner, idea: Idea, edit: Edit) -> None:
    runner.propose(idea.id, edit(*FASTER))
    runner._workspace.ask_to_cancel(idea, 2)
    assert runner.verify(idea.id, 1).verdict == "moves"
    assert runner._workspace.is_cancelled(idea, 2)
