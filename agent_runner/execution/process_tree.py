"""Who descends from a process, and signals that cannot hit anybody else. Standard library only, Linux.

The shim is a *subreaper*: an orphan below it becomes its child and not init's, so that also a daemon that
forked twice and left the session stays in the tree. Without /proc (other systems) the tree is not known,
and only the process group of the experiment is signalled.
"""

from __future__ import annotations

import ctypes
import os
import signal
from typing import NamedTuple

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Process(NamedTuple):
    """A process, told apart from a later one of the same pid by its start (clock ticks since boot)."""

    pid: int
    parent: int
    start: int
    rss_bytes: int


def become_subreaper() -> bool:
    """Adopt all future orphans among the descendants; False where the system cannot do that."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> bool:
    """Have the kernel kill the calling process when its parent's thread ends."""
    return _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> bool:
    call = getattr(ctypes.CDLL(None, use_errno=True), "prctl", None)
    return call is not None and call(option, ctypes.c_ulong(value), 0, 0, 0) == 0


def find(pid: int) -> Process | None:
    """The process of that pid (also a dead one that nobody has waited for), or None."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name stands in parentheses and may itself hold any character.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return Process(pid, int(fields[1]), int(fields[19]), int(fields[21]) * _PAGE)


def descendants(root: int) -> list[Process]:
    """Every process below `root`. One that forks meanwhile may be missed: repeat until none is left."""
    if not os.path.exists(f"/proc/{root}/task/{root}/children"):
        return _descendants_by_scan(root)
    found: list[Process] = []
    seen = {root}
    pending = _children(root)
    while pending:
        pid = pending.pop()
        process = None if pid in seen else find(pid)
        if process is not None:
            seen.add(pid)
            found.append(process)
            pending.extend(_children(pid))
    return found


def _children(pid: int) -> list[int]:
    """Children by /proc: its cost depends on the tree, not on how busy the machine is."""
    children: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                children.extend(map(int, file.read().split()))
    except OSError:
        pass  # it has ended
    return children


def all_processes() -> list[Process]:
    """Every process of the machine; none where there is no /proc."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    found = (find(int(name)) for name in names if name.isdigit())
    return [process for process in found if process is not None]


def _descendants_by_scan(root: int) -> list[Process]:
    by_parent: dict[int, list[Process]] = {}
    for process in all_processes():
        by_parent.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    pending = [root]
    while pending:
        children = by_parent.pop(pending.pop(), [])
        found.extend(children)
        pending.extend(child.pid for child in children)
    return found


def marked(name: str, value: str) -> list[Process]:
    """Every process of ours, but the caller, that was started with the environment variable `name=value`."""
    mark = os.fsencode(f"{name}={value}")
    found: list[Process] = []
    for process in all_processes():
        try:
            with open(f"/proc/{process.pid}/environ", "rb") as file:
                environment = file.read().split(b"\0")
        except OSError:
            continue  # another user's, or it has ended
        if mark in environment and process.pid != os.getpid():
            found.append(process)
    return found


def send(process: Process, number: int) -> bool:
    """Send a signal to exactly this process; False when it has ended, also if its pid is in use again."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    except (OSError, AttributeError):  # a kernel before 5.3, or a filter that forbids it
        descriptor = None
    try:
        # From here on a descriptor stands for one process: if this is the right one, it stays so.
        now = find(process.pid)
        if now is None or now.start != process.start:
            return False
        if descriptor is None:
            os.kill(process.pid, number)
        else:
            signal.pidfd_send_signal(descriptor, number)
    except OSError:
        return False
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return True


def handles(pid: int, number: int) -> bool:
    """Whether the process has installed a handler for the signal."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            caught = next((line for line in file if line.startswith("SigCgt:")), "SigCgt: 0")
    except OSError:
        return False
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def send_to_outermost(root: int, number: int) -> int:
    """Signal the outermost processes below `root` that have a handler for it; return how many.

    Workers forked by such a process have inherited its handler, and are left alone.
    """
    sent = 0
    pending = _children(root)
    while pending:
        pid = pending.pop()
        process = find(pid)
        if process is None:
            continue
        if handles(pid, number):
            sent += send(process, number)
        else:
            pending.extend(_children(pid))
    return sent


def boot_id() -> str | None:
    """The kernel's name for this boot: process ids mean nothing beyond it."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None
