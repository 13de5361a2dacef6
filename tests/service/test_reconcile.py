"""What a killed server leaves behind is settled by the next one, and what goes on is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

from agent_runner.records import Outcome, Reconciled
from agent_runner.service import Runner

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
