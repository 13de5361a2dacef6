"""A run with a stubborn process tree, and what becomes of it when one of its processes is killed by pid."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fault_homes import propose, reply
from fault_processes import Server, below, command_line, lives, named, until

from agent_runner.execution import process_tree
from agent_runner.execution.process_tree import Process
from agent_runner.records import Observation

GONE_WITHIN_S = 1.0
_DAEMONS = 4


@dataclass
class LivingRun:
    """A run that goes on until it is signalled or killed. `tree` is every process of it, also the shim."""

    server: Server
    records: Path
    tree: list[Process]

    @property
    def shim(self) -> Process:
        return next(p for p in self.tree if "shim.py" in command_line(p.pid))

    @property
    def experiment(self) -> Process:
        """The process that the daemons came from: the oldest that runs experiment.py itself."""
        return min(
            (p for p in self.tree if _runs_experiment(p.pid)), key=lambda p: (p.start, p.pid)
        )

    @property
    def sandbox(self) -> list[Process]:
        """The processes of bubblewrap, outermost first; none at a level without it."""
        found = [p for p in self.tree if os.path.basename(_program(p.pid)) == "bwrap"]
        return sorted(found, key=lambda p: (p.start, p.pid))

    def let_end(self) -> Process:
        """Let the experiment go on to its end; returns its process."""
        experiment = self.experiment
        process_tree.send(experiment, signal.SIGUSR2)
        return experiment

    def kill(self, process: Process) -> tuple[float, Observation]:
        """SIGKILL it; returns after how many seconds the whole tree was gone, and what the server said."""
        os.kill(process.pid, signal.SIGKILL)
        began = time.monotonic()
        until(lambda: not any(map(lives, self.tree)), "the end of the tree", timeout=30)
        seconds = time.monotonic() - began
        return seconds, self.server.result()


def start_run(
    home: Path, idea: str, value: int, mode: str = "tree", before: str = "plain"
) -> LivingRun:
    """Propose a run and return once all of its processes are up."""
    text = reply(value - 1, value, modes=(before, mode))
    runs = home / "ideas" / idea / "runs"
    earlier = set(runs.iterdir())
    server = Server(propose, home, idea, text)
    records = until(lambda: _started(runs, earlier, server), "a started run")
    log = records / "stdout.log"
    until(lambda: log.exists() and b"ready" in log.read_bytes(), "a ready experiment")
    until(lambda: mode != "tree" or log.read_bytes().count(b"daemon") == _DAEMONS, "the daemons")
    return LivingRun(server, records, _tree(records))


def _started(runs: Path, earlier: set[Path], server: Server) -> Path | None:
    assert server.alive(), server.result()
    new = [records for records in runs.iterdir() if records not in earlier]
    return next((records for records in new if (records / "started.json").exists()), None)


def _tree(records: Path) -> list[Process]:
    """The shim and its descendants: in a sandbox a process may name nothing of the home."""
    (shim,) = named(below(records), "shim.py")
    return [shim, *filter(lives, process_tree.descendants(shim.pid))]


def _runs_experiment(pid: int) -> bool:
    words = command_line(pid).split()
    return "bwrap" not in _program(pid) and any(
        word.endswith("experiment.py") for word in words[:4]
    )


def _program(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def victims(run: LivingRun) -> dict[str, Callable[[], Process]]:
    """Whom to kill, by name."""
    return {
        "shim": lambda: run.shim,
        "experiment": lambda: run.experiment,
        "outer bwrap": lambda: run.sandbox[0],
        "inner bwrap": lambda: run.sandbox[-1],
    }
