"""Many processes at once, and processes that are killed half way."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import traceback
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from agent_runner.paths import Home
from agent_runner.worktrees import Repository

PROCESSES = 16
FILES = {"experiment.py": b"rate = 1\n", "harness/data.py": b"x = 1\n"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def template(tmp_path: Path) -> Path:
    folder = tmp_path / "template"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def open_repository(home: Home) -> Repository:
    repository = Repository(home.repository, home.worktrees, home.repository_lock)
    repository.ensure()
    return repository


def lock_files(home: Home) -> list[Path]:
    return list(home.repository.rglob("*.lock"))


def sound(home: Home) -> bool:
    command = ["git", "--git-dir", str(home.repository), "fsck", "--strict", "--no-dangling"]
    return subprocess.run(command, capture_output=True).returncode == 0


def _create(home: Home, template: Path, number: int, start: Barrier) -> None:
    start.wait()
    try:
        repository = open_repository(home)
        commit, _ = repository.snapshot(template, sorted(FILES), "template")
        repository.add_worktree(f"idea-{number}", commit)
        worktree = home.worktrees / f"idea-{number}"
        (worktree / "experiment.py").write_text(f"rate = {number}\n")
        attempt, _ = repository.commit_attempt(f"idea-{number}", 1, ["experiment.py"])
        repository.set_run_ref(f"idea-{number}", 1, attempt)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def test_many_processes_create_ideas_at_once(home: Home, template: Path) -> None:
    """From nothing at all: also the repository is created by all of them."""
    context = multiprocessing.get_context("fork")
    start = context.Barrier(PROCESSES)
    created = [
        context.Process(target=_create, args=(home, template, number, start))
        for number in range(PROCESSES)
    ]
    for process in created:
        process.start()
    for process in created:
        process.join(120)
    assert [process.exitcode for process in created] == [0] * PROCESSES
    repository = open_repository(home)
    for number in range(PROCESSES):
        idea = f"idea-{number}"
        assert repository.repair(idea) == []
        assert repository.changed_files(idea) == repository.untracked(idea) == []
        assert repository.show(repository.head(idea), "experiment.py") == f"rate = {number}\n"
    assert lock_files(home) == [] and sound(home)


# Kills itself at the n-th call of a Python function; prints how many there were when n was not reached.
KILLED = """
import os, signal, sys
from pathlib import Path
from agent_runner.paths import Home
from agent_runner.worktrees import Repository

home, template, at = Home(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
calls = 0

def count(frame, event, argument):
    global calls
    calls += 1
    if calls == at:
        os.kill(os.getpid(), signal.SIGKILL)

sys.setprofile(count)
repository = Repository(home.repository, home.worktrees, home.repository_lock)
repository.ensure()
commit, _ = repository.snapshot(template, ["experiment.py", "harness/data.py"], "template")
repository.add_worktree("idea", commit)
(home.worktrees / "idea" / "experiment.py").write_text("rate = 2\\n")
repository.commit_attempt("idea", 1, ["experiment.py"], date="2026-01-01")
sys.setprofile(None)
print(calls)
"""


def run_killed(home: Path, template: Path, at: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", KILLED, str(home), str(template), str(at)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_killed_anywhere_the_next_call_completes_it(tmp_path: Path, template: Path) -> None:
    clean = run_killed(tmp_path / "clean", template, 0)
    assert clean.returncode == 0, clean.stderr
    calls = int(clean.stdout)
    rounds = 24
    for number in range(rounds):
        home = Home(tmp_path / str(number))
        at = 1 + number * (calls - 1) // rounds
        assert run_killed(home.root, template, at).returncode == -signal.SIGKILL
        repository = open_repository(home)
        commit, _ = repository.snapshot(template, sorted(FILES), "template")
        if "idea" in repository.worktrees():
            repository.undo_attempt("idea", 1)  # as the service's recovery does
        repository.add_worktree("idea", commit)
        assert repository.repair("idea") == []
        assert repository.head("idea") == commit
        assert repository.changed_files("idea") == []
        half_written = re.compile(r"(harness/)?\.(experiment|data)\.py\.[0-9a-f]{8}")
        assert all(map(half_written.fullmatch, repository.untracked("idea"))), f"at call {at}"
        assert lock_files(home) == [] and sound(home)


def test_lock_files_of_a_killed_git_are_removed(home: Home, template: Path) -> None:
    repository = open_repository(home)
    commit, _ = repository.snapshot(template, sorted(FILES), "template")
    for name in ("refs/heads/ideas/idea.lock", "packed-refs.lock", "HEAD.lock"):
        (home.repository / name).parent.mkdir(parents=True, exist_ok=True)
        (home.repository / name).touch()
    repository.add_worktree("idea", commit)
    assert repository.head("idea") == commit
    assert lock_files(home) == []


def test_the_lock_stays_taken_while_a_git_lives(home: Home, template: Path, tmp_path: Path) -> None:
    """A server that is killed leaves its git at work: nobody may take that one's lock files for stale."""
    repository = open_repository(home)
    commit, _ = repository.snapshot(template, sorted(FILES), "template")
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nread line < {tmp_path}/go\n")
    slow.chmod(0o755)
    os.mkfifo(tmp_path / "go")
    script = (
        "import sys; from pathlib import Path; from agent_runner.paths import Home;"
        "from agent_runner.worktrees import Repository; home = Home(Path(sys.argv[1]));"
        "Repository(home.repository, home.worktrees, home.repository_lock)"
        ".set_run_ref('idea', 1, sys.argv[2])"
    )
    environment = {**os.environ, "PATH": f"{slow.parent}:{os.environ['PATH']}"}
    server = subprocess.Popen(
        [sys.executable, "-c", script, str(home.root), commit], env=environment
    )
    with open(tmp_path / "go", "w") as go:  # returns when the slow git waits for its line
        server.kill()
        server.wait()
        command = ["flock", "--nonblock", str(home.repository_lock), "true"]
        assert subprocess.run(command).returncode == 1
        go.write("go\n")
    assert (
        subprocess.run(["flock", "--timeout", "30", str(home.repository_lock), "true"]).returncode
        == 0
    )
