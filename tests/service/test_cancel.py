"""Cancelling: at every stage, by another process's request, and what it costs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_runner.records import Observation, Outcome, Stage
from agent_runner.service import Runner

RATE = "        self.rate = 0.1"
LINE = '    print("loss", loss)'
HANG = '    print("hanging", flush=True)\n    import signal\n    signal.pause()'

Edit = Callable[[str, str], str]


def until_said(home: Path, pattern: str) -> None:
    """Wait until a job's log says that the program hangs."""
    deadline = time.monotonic() + 60
    while not any("hanging" in log.read_text() for log in home.glob(pattern)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def cancelled_when(runner: Runner, idea: str, reply: str, home: Path, pattern: str) -> Observation:
    """Propose, and cancel from another thread once the job with these records hangs."""
    answers = []

    def cancel() -> None:
        until_said(home, pattern)
        answers.append(runner.cancel(idea))

    thread = threading.Thread(target=cancel)
    thread.start()
    observation = runner.propose(idea, reply)
    thread.join()
    assert answers[0].asked and answers[0].attempt == observation.attempt
    return observation


def test_a_run_that_goes_on_is_ended_and_charged(
    runner: Runner, template: Path, edit: Edit, home: Path
) -> None:
    idea = runner.create_idea("Hang", template=template)
    runner.baseline(idea.id)
    observation = cancelled_when(
        runner, idea.id, edit(LINE, HANG), home, "ideas/*/runs/1/stdout.log"
    )
    assert observation.run is not None and observation.run.outcome is Outcome.CANCELLED
    assert observation.budget.charged is True and observation.budget.used == 1
    # the request is over with its attempt
    after = runner.propose(idea.id, edit(HANG, LINE) + edit(RATE, "        self.rate = 0.3"))
    assert after.run is not None and after.run.outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("label", ["smoke", "preflight"])
def test_a_check_that_goes_on_is_ended_and_costs_nothing(
    label: str, runner: Runner, template: Path, edit: Edit, home: Path
) -> None:
    hang = "import signal; print('hanging', flush=True); signal.pause()"
    (template / "hang.py").write_text(hang)
    command = "python hang.py" + (" {out_dir}" if label == "smoke" else "")
    (template / "template.toml").write_text(f'[{label}]\ncommand = "{command}"\n')
    idea = runner.create_idea("Check", template=template)
    runner.baseline(idea.id)
    reply = edit(RATE, "        self.rate = 0.2")
    observation = cancelled_when(runner, idea.id, reply, home, f"**/{label}/stdout.log")
    assert (observation.stage, observation.accepted) == (Stage.VALIDATE, False)
    assert [problem.kind for problem in observation.problems] == ["cancelled"]
    assert observation.budget.charged is False and observation.budget.used == 0


def test_before_the_edit_is_applied_nothing_changes(
    runner: Runner, template: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    idea = runner.create_idea("Early", template=template)
    runner.baseline(idea.id)
    begin = runner._workspace.ledger.begin_attempt

    def begin_and_cancel(*arguments: object) -> object:
        row = begin(*arguments)  # type: ignore[arg-type]
        assert Runner(home).cancel(idea.id).attempt == row.number
        return row

    monkeypatch.setattr(runner._workspace.ledger, "begin_attempt", begin_and_cancel)
    observation = runner.propose(idea.id, edit(RATE, "        self.rate = 0.2"))
    assert (observation.stage, observation.budget.used) == (Stage.APPLY, 0)
    assert "self.rate = 0.1" in (home / "worktrees" / idea.id / "experiment.py").read_text()


def test_a_baseline_is_ended_and_can_be_measured_later(
    runner: Runner, template: Path, home: Path
) -> None:
    script = template / "experiment.py"
    script.write_text(script.read_text().replace(LINE, f"{LINE}\n{HANG}"))
    idea = runner.create_idea("Baseline", template=template)

    def cancel() -> None:
        until_said(home, "baselines/*/stdout.log")
        runner.cancel(idea.id)

    thread = threading.Thread(target=cancel)
    thread.start()
    observation = runner.baseline(idea.id)
    thread.join()
    assert observation.run is not None and observation.run.outcome is Outcome.CANCELLED
    # the request is over with it: the next baseline is not ended by it
    again = runner.create_idea("Again", template=template, limits={"time_s": 2.0})
    runner.cancel(again.id)
    measured = runner.baseline(again.id)
    assert measured.run is not None and measured.run.outcome is Outcome.TIMED_OUT


def test_with_nothing_going_on_it_says_so(runner: Runner, template: Path) -> None:
    idea = runner.create_idea("Idle", template=template)
    answer = runner.cancel(idea.id)
    assert (answer.asked, answer.attempt) == (False, None)
    assert "nothing is going on" in answer.message
