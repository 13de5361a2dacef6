"""What a killed server leaves behind is settled by the next one, and what goes on is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_runner.execution import job_files
from agent_runner.records import Outcome, Reconciled, Stage
from agent_runner.service import Runner
from agent_runner.service.jobs import JobRunner, StartFailed

RATE = "        self.rate = 0.1"

LINE = '    print("loss", loss)'
# Goes on until it is told to end, and then still writes its results.
WAITING = (
    f"{LINE}\n    import signal, sys\n    print('up', flush=True)\n"
    "    signal.signal(signal.SIGTERM, lambda *_: None)\n    signal.pause()"
)
KILLED = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    import agent_runner.service.jobs as jobs
    from agent_runner.service import Runner

    def die_once_it_runs(job, *args, **kwargs):
        while b"up" not in (job.record_dir / "stdout.log").read_bytes():
            os.sched_yield()
        os.kill(os.getpid(), signal.SIGKILL)

    home, idea, reply = sys.argv[1:]
    jobs.wait = die_once_it_runs
    Runner(home).propose(idea, Path(reply).read_text())
    """
)


def left_behind(runner: Runner, template: Path, home: Path, reply: str) -> str:
    """An idea whose run goes on although its server was killed."""
    idea = runner.create_idea("Left behind", template=template)
    runner.baseline(idea.id)
    path = home / "reply.md"
    path.write_text(reply)
    command = [sys.executable, "-c", KILLED, str(home), idea.id, str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ})
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    return idea.id


def test_a_run_that_goes_on_is_left_alone_and_can_be_ended(
    runner: Runner, template: Path, home: Path, edit: Callable[[str, str], str]
) -> None:
    idea = left_behind(runner, template, home, edit(LINE, WAITING))
    assert runner.reconcile() == [Reconciled(idea=idea, living=(1,))]
    assert runner.reconcile() == [Reconciled(idea=idea, living=(1,))], "it is repeatable"
    assert runner.show(idea).budget.used == 1, "it stays reserved"
    answer = runner.cancel(idea)
    assert answer.asked and answer.attempt == 1
    view = runner.show(idea)
    assert view.runs[-1].outcome is Outcome.CANCELLED and view.attempts[0].charged is True
    assert runner.reconcile() == [Reconciled(idea=idea)]


def test_a_run_whose_supervisor_was_killed_too_is_settled_as_lost(
    runner: Runner, template: Path, home: Path, edit: Callable[[str, str], str]
) -> None:
    idea = left_behind(runner, template, home, edit(LINE, WAITING))
    started = (home / "ideas" / idea / "runs" / "1" / "started.json").read_text()
    shim = int(started.split('"shim_pid": ')[1].split(",")[0])
    os.kill(shim, signal.SIGKILL)
    found = runner.reconcile()
    while found[0].living:  # the kernel takes a moment
        found = runner.reconcile()
    assert found == [Reconciled(idea=idea, settled=(1,))]
    view = runner.show(idea)
    assert view.runs[-1].outcome is Outcome.LOST
    assert view.budget.used == 0, "nobody's doing: given back"


HANGS_IN_A_CHECK = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    import agent_runner.service.jobs as jobs
    from agent_runner.service import Runner

    wait = jobs.wait

    def die_in_the_check(job, records, label, *args, **kwargs):
        if label != "smoke":
            return wait(job, records, label, *args, **kwargs)
        while b"up" not in (job.record_dir / "stdout.log").read_bytes():
            os.sched_yield()
        os.kill(os.getpid(), signal.SIGKILL)

    jobs.wait = die_in_the_check
    home, idea, reply = sys.argv[1:]
    Runner(home).propose(idea, Path(reply).read_text())
    """
)


def test_a_check_that_was_left_going_is_ended(
    runner: Runner, template: Path, home: Path, edit: Callable[[str, str], str]
) -> None:
    (template / "check.py").write_text("import signal; print('up', flush=True); signal.pause()")
    (template / "template.toml").write_text('[smoke]\ncommand = "python check.py {out_dir}"\n')
    idea = runner.create_idea("Check", template=template)
    runner.baseline(idea.id)
    path = home / "reply.md"
    path.write_text(edit(RATE, "        self.rate = 0.2"))
    command = [sys.executable, "-c", HANGS_IN_A_CHECK, str(home), idea.id, str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ})
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    lock = str(home / "ideas" / idea.id / "attempts" / "1" / "smoke" / "lock")
    assert job_files.is_locked(lock), "it goes on"
    assert runner.reconcile() == [Reconciled(idea=idea.id, settled=(1,))]
    assert not job_files.is_locked(lock)
    assert "self.rate = 0.1" in (home / "worktrees" / idea.id / "experiment.py").read_text()


def test_a_run_that_could_not_be_started_is_given_back_with_its_edit(
    runner: Runner, template: Path, edit: Callable[[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    idea = runner.create_idea("Broken", template=template)
    runner.baseline(idea.id)
    reply = edit(RATE, "        self.rate = 0.2")

    def broken(*_: object) -> None:
        raise StartFailed("there is no process to be had", "Free some.")

    with monkeypatch.context() as patched:
        patched.setattr(JobRunner, "run", broken)
        for _ in range(3):
            observation = runner.propose(idea.id, reply)
            assert [problem.kind for problem in observation.problems] == ["not_started"]
            assert "no process to be had" in observation.message
            assert (observation.accepted, observation.budget.used) == (False, 0)
    again = runner.propose(idea.id, reply)
    assert again.run is not None and again.run.outcome is Outcome.SUCCEEDED
    assert again.budget.used == 1


def test_an_answer_that_was_lost_does_not_change_what_was_decided(
    runner: Runner, template: Path, home: Path, edit: Callable[[str, str], str]
) -> None:
    idea = runner.create_idea("Lost answer", template=template)
    runner.baseline(idea.id)
    faulty = runner.propose(idea.id, edit(RATE, "        self.rate = undefined_name"))
    assert faulty.stage is Stage.VALIDATE
    answer = home / "ideas" / idea.id / "attempts" / "1" / "observation.json"
    answer.unlink()
    before = runner.show(idea.id).attempts
    assert runner.reconcile() == [Reconciled(idea=idea.id, settled=(1,))]
    assert runner.show(idea.id).attempts == before
    assert '"answer_lost"' in answer.read_text()
    source = (home / "worktrees" / idea.id / "experiment.py").read_text()
    assert "undefined_name" in source, "an edit that was applied stays"


def test_one_damaged_idea_keeps_nobody_from_the_others(
    runner: Runner, template: Path, home: Path
) -> None:
    for title in ("Damaged", "Whole"):
        runner.create_idea(title, template=template)
    (home / "ideas" / "damaged" / "idea.json").write_text("{")
    damaged, whole = runner.reconcile()
    assert damaged.idea == "damaged" and damaged.problem
    assert whole == Reconciled(idea="whole")
