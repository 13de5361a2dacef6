"""A server that is killed at any point leaves nothing lost, nothing charged twice, and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_runner.records import Idea, Outcome, Stage
from agent_runner.service import Runner

RATE = "        self.rate = 0.1"

# Dies by SIGKILL when the named function is entered (or, with "after", has returned).
KILLED = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    import agent_runner.service.proposals as proposals
    import agent_runner.service.jobs as jobs
    from agent_runner.ledger import Ledger
    from agent_runner.service import Runner
    from agent_runner.service.workspace import Workspace
    from agent_runner.worktrees import Repository

    home, idea, reply, point, key = sys.argv[1:6]
    owner, name, when = {
        "before commit": (Repository, "commit_attempt", "before"),
        "after commit": (Repository, "commit_attempt", "after"),
        "after reserve": (Ledger, "reserve_run", "after"),
        "while running": (proposals, "execute", "started"),
        "before settle run": (Ledger, "settle_run", "before"),
        "after settle run": (Ledger, "settle_run", "after"),
        "before settle attempt": (Ledger, "settle_attempt", "before"),
        "after settle attempt": (Ledger, "settle_attempt", "after"),
        "after history": (Workspace, "say", "after"),
    }[point]

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    original = getattr(owner, name)

    def wrapped(*args, **kwargs):
        if when == "before":
            die()
        if when == "started":
            jobs.wait = lambda *a, **k: die()
        result = original(*args, **kwargs)
        if when == "after":
            die()
        return result

    runner = Runner(home)
    runner.baseline(idea)
    setattr(owner, name, wrapped)
    runner.propose(idea, Path(reply).read_text(), idempotency_key=key or None)
    """
)

POINTS = [
    "before commit",
    "after commit",
    "after reserve",
    "while running",
    "before settle run",
    "after settle run",
    "before settle attempt",
    "after settle attempt",
    "after history",
]
NO_RUN_YET = {"before commit", "after commit"}


def killed_at(point: str, home: Path, idea: Idea, reply: str, key: str = "") -> None:
    path = home / "reply.md"
    path.write_text(reply)
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(home), idea.id, str(path), point, key],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ},
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_server_is_taken_up_by_the_next(
    point: str, runner: Runner, idea: Idea, home: Path, edit: Callable[[str, str], str]
) -> None:
    killed_at(point, home, idea, edit(RATE, "        self.rate = 0.2"))
    after = runner.propose(idea.id, "no edit, just a look")
    assert after.attempt == 2
    view = runner.show(idea.id)
    first = view.attempts[0]
    assert first.stage is not None, "no attempt stays open"
    worktree = (home / "worktrees" / idea.id / "experiment.py").read_text()
    if point in NO_RUN_YET:
        assert (first.stage, view.budget.used) == (Stage.APPLY, 0)
        assert "self.rate = 0.1" in worktree, "half an edit is undone"
    else:  # also what was reserved and never started: its reservation stands, and it gets its start
        assert view.budget.used == 1
        assert view.runs[-1].outcome is Outcome.SUCCEEDED
        assert view.runs[-1].metrics == {"loss": 0.8}
    roles = [message["role"] for message in after.messages]
    assert roles == ["user", "assistant", "user", "assistant", "user"]


@pytest.mark.parametrize("point", POINTS)
def test_repeating_the_request_under_its_key_ends_with_one_run(
    point: str, runner: Runner, idea: Idea, home: Path, edit: Callable[[str, str], str]
) -> None:
    reply = edit(RATE, "        self.rate = 0.2")
    killed_at(point, home, idea, reply, key="once")
    observation = runner.propose(idea.id, reply, idempotency_key="once")
    assert observation.attempt == 1
    assert runner.propose(idea.id, reply, idempotency_key="once") == observation
    assert runner.show(idea.id).budget.used == 1
    assert [m["role"] for m in observation.messages] == ["user", "assistant", "user"]


ORPHANED_BASELINE = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    import agent_runner.service.jobs as jobs
    from agent_runner.service import Runner

    def die_once_it_runs(*args, **kwargs):
        while not list(Path(sys.argv[1]).glob("worktrees/*/x")):
            os.sched_yield()
        os.kill(os.getpid(), signal.SIGKILL)

    jobs.wait = die_once_it_runs
    Runner(sys.argv[1]).baseline(sys.argv[2])
    """
)


def test_a_baseline_that_was_left_running_is_ended_and_measured_again(
    runner: Runner, template: Path, home: Path
) -> None:
    script = template / "experiment.py"
    once = 'import pathlib, signal\nif not pathlib.Path("x").exists():\n'
    once += '    pathlib.Path("x").touch()\n    signal.pause()\n'
    script.write_text(once + script.read_text())
    idea = runner.create_idea("Orphan", template=template, sandbox="L0")
    ended = subprocess.run(
        [sys.executable, "-c", ORPHANED_BASELINE, str(home), idea.id],
        timeout=60,
        env={**os.environ},
    )
    assert ended.returncode == -signal.SIGKILL
    (started,) = home.glob("baselines/*/started.json")
    pid = json.loads(started.read_text())["child_pid"]
    baseline = runner.baseline(idea.id)
    assert baseline.run is not None and baseline.run.metrics == {"loss": 0.9}
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
