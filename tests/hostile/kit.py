"""What the hostile programs share: copied into each template, where it is a locked file like any harness.

It knows where its victims are (`targets.json`, written by the test beside it) and keeps three diaries in the
run's own folder, for the test to read after the run:

- `loot.hex`: what was read, in hexadecimal, so that no cleaning of logs can hide that a secret was reached;
- `claims.txt`: what was reached that leaves no trace on the host (a socket family, a system call);
- `steps.txt`: why each step that failed did so, for a person who wonders whether a case still attacks at all.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import json
import os
import platform
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TARGETS: dict[str, Any] = json.loads((HERE / "targets.json").read_text())
MARK: str = TARGETS["mark"]  # at most 15 bytes: it is the name of every process of the run
SCRIBBLE = (
    "hostile" + "-wrote-" + MARK
)  # what is written into each file that should be out of reach
NAME = "hostile-" + MARK  # the name of each new file that should be out of reach
X86 = platform.machine() == "x86_64"
libc = ctypes.CDLL(None, use_errno=True)
_out = Path()


def begin() -> str:
    """Read --out_dir, make it, and give this process (and so all its forks) the mark as its name."""
    global _out
    parser = argparse.ArgumentParser()
    parser.add_argument("--out_dir", required=True)
    out = str(parser.parse_args().out_dir)
    os.makedirs(out, exist_ok=True)
    _out = Path(out).resolve()
    libc.prctl(15, MARK.encode(), 0, 0, 0)  # PR_SET_NAME
    return out


def finish(out: str, variant: int) -> None:
    """The honest end: one metric."""
    Path(out, "final_info.json").write_text(json.dumps({"metrics": {"score": 1.0 + variant}}))


def _note(diary: str, line: str) -> None:
    with contextlib.suppress(OSError), open(_out / diary, "a") as file:
        file.write(line + "\n")


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """One step of an attack: when it is refused, the next one is tried."""
    try:
        yield
    except Exception as error:
        _note("steps.txt", f"{name}: {type(error).__name__}: {error}"[:300])
    else:
        _note("steps.txt", f"{name}: went through")


def loot(data: bytes | str) -> None:
    """Carry off what was read: as it is on stdout, and in hexadecimal in the results."""
    raw = data.encode("utf-8", "replace") if isinstance(data, str) else data
    _note("loot.hex", raw[:200_000].hex())
    sys.stdout.write(raw[:2000].decode("utf-8", "replace") + "\n")


def claim(what: str) -> None:
    """Say what was reached and leaves no other proof. Written only after the call succeeded."""
    _note("claims.txt", what)


def scribble(path: str | Path) -> None:
    """Append to a file, or make it."""
    with step(f"write {path}"), open(path, "a") as file:
        file.write(SCRIBBLE + "\n")


def child(work: Callable[[], None]) -> int:
    """Do something risky in a process of its own, so that a kill by seccomp ends only that one."""
    pid = os.fork()
    if pid == 0:
        with step(getattr(work, "__name__", "child")):
            work()
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def checked(result: int) -> int:
    """The result of a libc call, or its OSError."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, errno.errorcode.get(number, "?"))
    return result


def syscall(x86: int, other: int, *args: Any) -> int:
    """A raw system call by its number on x86_64 and on arm64."""
    values = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    return checked(int(libc.syscall(ctypes.c_long(x86 if X86 else other), *values)))


def detach() -> bool:
    """Fork a daemon by the book (double fork, own session). True in the daemon, False in the caller."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return False
    os.setsid()
    if os.fork():
        os._exit(0)
    return True


def linger(seconds: int = 30) -> None:
    """Stay for ever, as far as the test is concerned; yet no leak of ours outlives half a minute."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    signal.alarm(seconds)
    while True:
        signal.pause()


def pids() -> list[int]:
    """All processes that can be seen, but for this one."""
    return [int(n) for n in os.listdir("/proc") if n.isdigit() and int(n) != os.getpid()]


def everything_under(root: str) -> Iterator[Path]:
    """Each file below a folder, no links followed, at most some thousands."""
    seen = 0
    for folder, _, files in os.walk(root):
        for name in files:
            seen += 1
            if seen > 5000:
                return
            yield Path(folder, name)


def linger_thread() -> None:
    """What `linger` is for a thread other than the first one."""
    threading.Event().wait(30)


def group_and_name(pid: int) -> tuple[int, str]:
    """The process group of a process, and its name; (-1, "") of one that is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return -1, ""
    return int(text.rpartition(")")[2].split()[2]), text[text.index("(") + 1 : text.rindex(")")]
