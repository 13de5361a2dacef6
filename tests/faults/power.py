"""Power that fails at a random moment of a server's work, and a look at all that was acknowledged before."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from fault_homes import git, propose, quick_check, reply, show
from fault_processes import Server, call, say
from loop_mounts import Disk
from points import propose_and_stay

from agent_runner.records import Observation


def work_without_end(home: Path, idea: str, value: int) -> None:
    """In a server process: one proposal after the other, each reported once it is acknowledged."""
    for new in itertools.count(value + 1):
        say(propose(home, idea, reply(new - 1, new)))


@dataclass
class Acknowledged:
    """What the client was told of one idea, in the test's memory."""

    idea: str
    value: int = 0  # what the editable files held by the last of them
    used: int = 0  # the budget as it was told last
    observations: list[Observation] = field(default_factory=list)

    def take(self, observation: Observation) -> None:
        self.observations.append(observation)
        self.value, self.used = self.value + 1, observation.budget.used

    def hear(self, server: Server, timeout: float = 0.0) -> None:
        for kind, observation in server.heard(timeout):
            assert kind == "said", observation
            self.take(observation)
            assert observation.run.metrics == {"loss": float(self.value)}


def cut_while_working(disk: Disk, told: Acknowledged, seconds: float) -> None:
    """Let a server work for some time, cut its power, restart the machine."""
    server = Server(work_without_end, disk.home, told.idea, told.value)
    told.hear(server, timeout=60)  # at least one, else the round proves nothing
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        told.hear(server, timeout=left)
    disk.cut_power()
    server.kill()
    for kind, value in server.heard():
        if kind == "said":  # acknowledged in the last moment: it counts
            told.take(value)
    disk.restart()


def cut_at(disk: Disk, told: Acknowledged, point: str) -> None:
    """Let a server come to a named point, cut the power there, restart the machine."""
    text = reply(told.value, told.value + 1)
    server = Server(propose_and_stay, disk.home, told.idea, text, point)
    heard = server.heard(timeout=60)
    assert heard == [("said", "reached")], f"the point {point!r} was not reached: {heard}"
    disk.cut_power()
    server.kill()
    disk.restart()


def losses(disk: Disk, told: Acknowledged) -> list[str]:
    """What was acknowledged and is not there any more."""
    home, lost = disk.home, []
    quick_check(home)
    view, _ = call(show, home, told.idea)
    runs = {run.index: run for run in view.runs}
    spent = {attempt.attempt: attempt for attempt in view.attempts if attempt.charged}
    for observation in told.observations:
        run = observation.run
        assert run is not None
        name = f"attempt {observation.attempt}"
        if observation.attempt not in spent:
            lost.append(f"{name}: its row in the ledger")
        if runs.get(run.index) != run:
            lost.append(f"{name}: result.json")
        stored = (
            home / "ideas" / told.idea / "attempts" / str(observation.attempt) / "observation.json"
        )
        if (
            not stored.exists()
            or Observation.model_validate_json(stored.read_bytes()) != observation
        ):
            lost.append(f"{name}: observation.json")
        if git(home, "cat-file", "-e", f"{run.commit}^{{tree}}").returncode:
            lost.append(f"{name}: its commit {run.commit[:8]}")
        ref = git(
            home, "rev-parse", "--verify", f"refs/runs/{told.idea}/{run.index}"
        ).stdout.strip()
        if ref != run.commit:
            lost.append(f"{name}: its ref (it is {ref or 'missing'})")
        info = home / "ideas" / told.idea / "runs" / str(run.index) / "final_info.json"
        if _means(info) != run.metrics:
            lost.append(f"{name}: final_info.json")
    history = home / "ideas" / told.idea / "history.json"
    said = history.read_text().count('"voice": "assistant"') if history.exists() else 0
    if said < len(told.observations):
        lost.append(f"{len(told.observations) - said} replies in history.json")
    return lost


def _means(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())["toy"]["means"]
    except (OSError, ValueError, KeyError):
        return None


def go_on(disk: Disk, told: Acknowledged) -> None:
    """The next server takes up the work, and no hand was laid on anything in between."""
    call(propose, disk.home, told.idea, "Just a look, no edit.")
    now = int((disk.home / "worktrees" / told.idea / "rate.txt").read_text())
    assert now - told.value in (0, 1), f"the files hold edit {now}, acknowledged were {told.value}"
    observation = call(propose, disk.home, told.idea, reply(now, now + 1))
    assert observation.run is not None, observation.message
    assert observation.run.metrics == {"loss": float(now + 1)}
    # The run that was cut off may have been charged; no other may.
    view, _ = call(show, disk.home, told.idea)
    assert view.budget.used == observation.budget.used
    assert view.budget.used == sum(bool(attempt.charged) for attempt in view.attempts)
    assert 1 <= view.budget.used - told.used <= 2, "the budget"
    told.value, told.used = now + 1, view.budget.used
    told.observations.append(observation)


def charged_for_nothing(disk: Disk, told: Acknowledged) -> list[str]:
    """Runs that pay for results which the power cut has taken. (Every run of the toy ends with some.)"""
    view, _ = call(show, disk.home, told.idea)
    failed = [run for run in view.runs if run.index and run.failure is not None]
    return [f"run_{run.index}: {run.failure.kind}" for run in failed if run.failure.charged]
