"""Real jobs at a level of isolation, as the service starts them."""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent_runner.execution import job_files, process_tree
from agent_runner.execution.environment import build_environment, interpreter_folders
from agent_runner.execution.process_tree import Process
from agent_runner.executors.local import LocalExecutor, LocalJob
from agent_runner.executors.sandboxing import Sandboxing
from agent_runner.records import Confinement, JobExit, JobSpec, LevelReport, Limits

PYTHON = Path(sys.executable)
_PATIENCE_S = 60.0
ALL = pytest.mark.parametrize("level", ["L0", "L1", "L2", "L3"])
SANDBOXED = pytest.mark.parametrize("level", ["L2", "L3"])
READY = "ready to be looked at"
HELPERS = f"""
import json, os, signal, sys, time
def errno(action):
    try:
        action()
    except OSError as error:
        return error.errno
    return 0
def ready():
    print({READY!r}, flush=True)
def daemon():
    "A process that has left everything and ignores SIGTERM."
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True: time.sleep(1000)
        os._exit(0)
    os.wait()
"""


def until(ask: Callable[[], Any]) -> Any:
    """Wait until the answer is true, and return it."""
    deadline = time.monotonic() + _PATIENCE_S
    while not (answer := ask()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return answer


@functools.cache
def report(level: str) -> LevelReport:
    return Sandboxing(None).report(level)


def need(level: str) -> None:
    """Skip where the level does not work; in CI as root each of them has to."""
    found = report(level)
    if found.works:
        return
    why = f"{level} does not work here: {found.reason}"
    if os.environ.get("CI") == "true" and os.geteuid() == 0:
        pytest.fail(why)
    pytest.skip(why)


class Ground:
    """A home with a worktree and a record folder in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.worktree = home / "worktrees" / "idea"
        self.record = home / "records" / "run_1"
        self.out = self.worktree / "run_1"
        self.worktree.mkdir(parents=True)

    def spec(
        self,
        code: str = "",
        level: str = "L2",
        *,
        limits: dict[str, Any] | None = None,
        confinement: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        **options: Any,
    ) -> JobSpec:
        """`code` becomes experiment.py. `env` is in addition to the usual."""
        if code:
            (self.worktree / "experiment.py").write_text(code)
        self.record.mkdir(parents=True, exist_ok=True)
        own_tmp = level not in ("L0", "L1")
        values: dict[str, Any] = {
            "job_id": "idea/run_1",
            "argv": (str(PYTHON), "experiment.py", "--out_dir=run_1"),
            "cwd": str(self.worktree),
            "env": build_environment(
                self.record, self.home / "cache", env or {}, interpreter=PYTHON, own_tmp=own_tmp
            ),
            "record_dir": str(self.record),
            "out_dir": str(self.out),
        }
        given = {"read": tuple(map(str, interpreter_folders(PYTHON))), "hidden": (str(self.home),)}
        return JobSpec(
            **{**values, **options},
            limits=Limits(**{"time_s": 120, **(limits or {})}),
            confinement=Confinement(level=level, **{**given, **(confinement or {})}),
        )

    def start(self, code: str = "", level: str = "L2", **options: Any) -> LocalJob:
        return LocalExecutor().start(self.spec(code, level, **options))

    def run(self, code: str = "", level: str = "L2", **options: Any) -> JobExit:
        ended = self.start(code, level, **options).wait(_PATIENCE_S)
        assert ended is not None, "it goes on"
        return ended

    def say(self, code: str = "", level: str = "L2", **options: Any) -> Any:
        """Run it and return what it printed as JSON."""
        ended = self.run(code, level, **options)
        assert (ended.reason, ended.returncode) == ("exited", 0), (ended, self.stderr())
        return json.loads(self.stdout())

    def stdout(self) -> str:
        return (self.record / job_files.STDOUT).read_text()

    def stderr(self) -> str:
        return (self.record / job_files.STDERR).read_text(errors="replace")

    def left(self) -> set[str]:
        """What there is in the record folder beside the records."""
        names = {path.name for path in self.record.iterdir()}
        return names & {job_files.BOX, job_files.JOB, job_files.SCRATCH_LINK}


def started(ground: Ground) -> dict[str, Any]:
    return json.loads((ground.record / job_files.STARTED).read_text())  # type: ignore[no-any-return]


def tree_of(ground: Ground) -> list[Process]:
    """The job's processes with those of its sandbox, the outermost first."""
    return process_tree.descendants(started(ground)["shim_pid"])


def end_of(job: LocalJob) -> JobExit:
    ended = job.wait(60)
    assert ended is not None, "it goes on"
    return ended
