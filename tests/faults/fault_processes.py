"""Server processes that may be killed: forked from one warm process, since a start from nothing takes 0.6 s."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from agent_runner.execution import process_tree
from agent_runner.execution.process_tree import Process

PATIENCE_S = 120.0
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["agent_runner.service", "agent_runner.surfaces.cli.main"])


class Failed(Exception):
    """The function raised in its process; the message is its traceback."""


class Server:
    """One process that calls one function. `result` is what it returned, `killed` that it died by SIGKILL."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._receiver, sender = _context.Pipe(duplex=False)
        self._process = _context.Process(target=_call, args=(sender, function, arguments))
        self._process.start()
        sender.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def alive(self) -> bool:
        return self._process.is_alive()

    def has_spoken(self) -> bool:
        return self._receiver.poll()

    def heard(self, timeout: float = 0.0) -> list[Any]:
        """What it has said with `say` and was not read yet; waits for the first at most `timeout` seconds."""
        words: list[Any] = []
        try:
            while self._receiver.poll(0.0 if words else timeout):
                words.append(self._receiver.recv())
        except EOFError:
            pass
        return words

    def kill(self) -> None:
        self._process.kill()
        self._process.join(PATIENCE_S)

    def result(self, timeout: float = PATIENCE_S) -> Any:
        """Wait for its end. Raises Failed where it raised, or died without a word."""
        words = self.heard(timeout)
        self._process.join(timeout)
        assert not self._process.is_alive(), f"process {self.pid} goes on after {timeout:g} s"
        words += self.heard()
        assert words, f"process {self.pid} ended without a word: {self._process.exitcode}"
        kind, value = words[-1]
        if kind == "raised":
            raise Failed(value)
        return value

    def exit_code(self) -> int:
        """Wait for its end; for a function that ends its process by itself."""
        self._process.join(PATIENCE_S)
        assert self._process.exitcode is not None, f"process {self.pid} goes on"
        return self._process.exitcode

    def died_of_sigkill(self, what: str) -> None:
        """Fail unless it killed itself, as it was told to do at `what`."""
        self._process.join(PATIENCE_S)
        words = self.heard()
        raised = f"; it raised:\n{words[-1][1]}" if words and words[-1][0] == "raised" else ""
        assert self._process.exitcode == -signal.SIGKILL, (
            f"the point {what!r} was never reached: the process ended with {self._process.exitcode}. "
            f"Has the function it waits for another name now? (tests/faults/points.py){raised}"
        )


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a new server process."""
    return Server(function, *arguments).result()


def _call(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    global _sender
    _sender = sender
    os.environ.pop("AGENT_RUNNER_HOME", None)
    try:
        sender.send(("returned", function(*arguments)))
    except BaseException:  # the test's process is told of whatever it was
        sender.send(("raised", traceback.format_exc()))


_sender: Connection | None = None


def say(value: Any) -> None:
    """In a server process: report to the test, at once."""
    assert _sender is not None
    _sender.send(("said", value))


# ---------------------------------------------------------------- waiting, and looking at processes


def until(ask: Callable[[], Any], what: str, timeout: float = PATIENCE_S) -> Any:
    """Wait until the answer is true, and return it."""
    deadline = time.monotonic() + timeout
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"waited {timeout:g} s in vain for: {what}"
        time.sleep(0.005)
    return answer


def lives(process: Process) -> bool:
    """Whether exactly this process runs; one that is dead and not waited for does not."""
    now = process_tree.find(process.pid)
    return (
        now is not None
        and now.start == process.start
        and process_state(process.pid) not in ("Z", "X", "")
    )


def process_state(pid: int) -> str:
    """Its letter in /proc: `S` sleeps, `T` is stopped, `Z` is dead; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def below(folder: Path) -> list[Process]:
    """Every living process that names a folder in command or environment, or works in it; not the caller."""
    mark = os.fsencode(folder.absolute())
    found = []
    for process in process_tree.all_processes():
        if process.pid != os.getpid() and _mentions(process.pid, mark) and lives(process):
            found.append(process)
    return found


def _mentions(pid: int, mark: bytes) -> bool:
    proc = Path(f"/proc/{pid}")
    for name in ("cmdline", "environ"):
        try:
            if mark in (proc / name).read_bytes():
                return True
        except OSError:
            continue
    try:
        return os.fsencode(os.readlink(proc / "cwd")).startswith(mark)
    except OSError:
        return False


def waiting_for(path: Path) -> int:
    """How many processes wait for a lock on a file."""
    inode = f":{path.stat().st_ino} "
    lines = Path("/proc/locks").read_text().splitlines()
    return sum("->" in line and inode in line for line in lines)


def named(processes: list[Process], name: str) -> list[Process]:
    """Those whose command line has the name."""
    return [process for process in processes if name in command_line(process.pid)]


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
