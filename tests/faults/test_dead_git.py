"""A server may die while git works for it: git may end late, or leave its locks behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crash_rounds import go_on_after_crash
from fault_homes import Model, check_home, create, end_everything, propose, reply, write_template
from fault_processes import Failed, Server, below, call, named, until, waiting_for
from points import POINTS, die


@pytest.fixture
def model(tmp_path: Path) -> Iterator[Model]:
    write_template(tmp_path / "toy")
    home = tmp_path / "home"
    yield Model(home, call(create, home, tmp_path / "toy", "Git"))
    end_everything(home)


def _hold_git_and_die(home: Path, idea: str, text: str, gate: Path) -> None:
    """In a server process: dies when git is about to move the branch, and git waits at a gate (a fifo)."""
    start = subprocess.Popen.__init__

    def wrapped(self: Any, command: list[str], *rest: Any, **options: Any) -> None:
        held = "update-ref" in command
        if held:
            command = ["sh", "-c", f'read word < "{gate}"; exec "$@"', "held-git", *command]
        start(self, command, *rest, **options)
        if held:
            die()

    subprocess.Popen.__init__ = wrapped  # type: ignore[method-assign,assignment]
    propose(home, idea, text)


def test_a_git_that_ends_late_cannot_bring_an_undone_edit_back(
    model: Model, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    server = Server(_hold_git_and_die, model.home, model.idea, reply(0, 1), gate)
    server.died_of_sigkill("update-ref of the branch")
    assert named(below(model.home), "held-git"), "git was to be held up"
    following = Server(propose, model.home, model.idea, "Just a look, no edit.")
    lock = model.home / "repo.lock"
    until(lambda: waiting_for(lock) or following.has_spoken(), "the next server to wait or to end")
    gate.write_text("go\n")
    following.result()
    until(lambda: not below(model.home), "the end of git")
    assert (model.worktree / "rate.txt").read_text() == "0\n", "the edit is undone"
    observation = call(propose, model.home, model.idea, reply(0, 2))
    assert observation.run is not None and observation.run.metrics == {"loss": 2.0}
    assert not observation.problems, "the worktree was as the branch has it"
    check_home(model.home)


LOCKS = [
    "worktrees/{idea}/index.lock",
    "refs/heads/ideas/{idea}.lock",
    "worktrees/{idea}/HEAD.lock",
]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_stale_lock_of_git_is_cleared(lock: str, model: Model) -> None:
    path = model.home / "repo.git" / lock.format(idea=model.idea)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (0, 0))  # from before this boot
    try:
        go_on_after_crash(model, POINTS["before the commit"], key="lock")
    except Failed as error:
        raise AssertionError(f"the idea is blocked: {error}") from error
