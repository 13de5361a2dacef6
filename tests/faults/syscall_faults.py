"""Errors of the operating system, injected by strace into one process: the server, its git, or the shim."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fault_processes import Server, until, waiting_for

# What can fail for want of space or by a broken disk. SQLite writes by pwrite64, and syncs by fdatasync.
CALLS = (
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "rename",
    "openat",
    "ftruncate",
    "mkdir",
    "unlink",
)


@dataclass(frozen=True)
class Spoken:
    """What a command of ours said, and the strace of it."""

    code: int
    stdout: str
    stderr: str
    trace: str

    @property
    def injected(self) -> list[str]:
        return [line for line in self.trace.splitlines() if "(INJECTED)" in line]

    def calls(self) -> Counter[str]:
        """How often each system call was made."""
        return Counter(re.findall(r"^(?:\d+ +)?(\w+)\(", self.trace, re.MULTILINE))

    def must_be_clear(self) -> None:
        """Success, or an error that says what happened; never a bare traceback."""
        assert "Traceback" not in self.stderr, self.stderr
        if self.code == 0:
            return
        told_nothing = any(re.search(r"\bwrite\([12],", line) for line in self.injected)
        if (
            self.code in (1, 2) and not told_nothing
        ):  # the words themselves may not have got through
            (line,) = [line for line in self.stderr.splitlines() if line.startswith("{")]
            error = json.loads(line)["error"]
            assert error["message"] and error["remedy"], error
        assert self.code in (1, 2, 3), (self.code, self.stderr)


def _command_at_a_gate(gate: Path, folder: Path, arguments: list[str], path: str | None) -> None:
    """In a server process: the command line program, from the moment on at which the gate opens."""
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        target = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(target, descriptor)
        os.close(target)
    if path is not None:
        os.environ["PATH"] = path
    from agent_runner.surfaces.cli import main

    sys.argv = ["agent-runner", *arguments]
    code: Any = 1
    with open(gate) as file:
        fcntl.flock(file, fcntl.LOCK_SH)
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # what the interpreter does with it
        traceback.print_exc()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(code or 0)


def command(
    folder: Path,
    *arguments: str,
    inject: str | None = None,
    only: str | None = None,
    path: str | None = None,
) -> Spoken:
    """Run `agent-runner` under strace, with an injected fault (`write:error=EIO:when=3`) or none.

    only: inject into calls on this very file. path: the PATH in which it finds its programs.
    """
    gate, trace = folder / "gate", folder / "trace"
    gate.touch()
    with open(gate) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        server = Server(_command_at_a_gate, gate, folder, list(arguments), path)
        until(lambda: waiting_for(gate) == 1 or not server.alive(), "the command at its gate")
        with traced(server.pid, trace, inject, only):
            fcntl.flock(file, fcntl.LOCK_UN)
            code = server.exit_code()
    texts = ((folder / name).read_text() for name in ("stdout", "stderr", "trace"))
    return Spoken(code, *texts)


@contextlib.contextmanager
def traced(
    pid: int, log: Path, inject: str | None = None, only: str | None = None
) -> Iterator[None]:
    """strace follows a process, until that ends."""
    options = ["-e", f"trace={','.join(CALLS)}"]
    if inject is not None:
        options += ["-e", f"inject={inject}"]
    if only is not None:
        options += ["-P", only]
    tracer = subprocess.Popen(
        ["strace", "-qq", "-o", str(log), *options, "-p", str(pid)], stderr=subprocess.PIPE
    )
    try:
        until(lambda: _tracer(pid) or tracer.poll() is not None, "strace to be attached")
        assert tracer.poll() is None, tracer.communicate()[1]
        yield
        tracer.wait(60)
    finally:
        if tracer.poll() is None:
            tracer.terminate()
        tracer.communicate()


_FAILING_GIT = """\
#!/bin/sh
# Every git call is counted; the chosen one can put nothing into its place on the disk.
echo call >> {count}
if [ "$(wc -l < {count})" -eq {number} ]; then
    exec strace -f -qq -o {trace} -e trace=rename,link,mkdir,fsync \\
        -e inject=rename,link,mkdir,fsync:error={error} {git} "$@"
fi
exec {git} "$@"
"""


def failing_git(folder: Path, number: int, error: str) -> str:
    """A PATH in which the n-th call of git fails."""
    programs, count = folder / "programs", folder / "git-calls"
    programs.mkdir(exist_ok=True)
    count.write_text("")
    script = programs / "git"
    trace = folder / "git-trace"
    script.write_text(
        _FAILING_GIT.format(
            count=count, number=number, error=error, git=shutil.which("git"), trace=trace
        )
    )
    script.chmod(0o755)
    return f"{programs}:{os.environ['PATH']}"


def _tracer(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(re.findall(r"^TracerPid:\s*(\d+)", status, re.MULTILINE)[0])


def spread(count: int, at_most: int) -> list[int]:
    """Numbers from 1 to `count`, all of them or evenly apart."""
    if count <= at_most:
        return list(range(1, count + 1))
    return sorted({1 + round(i * (count - 1) / (at_most - 1)) for i in range(at_most)})
