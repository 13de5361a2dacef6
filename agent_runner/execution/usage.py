"""What a job uses: memory of its tree, disk below its folders, the kernel's out-of-memory kills.

Standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from agent_runner.execution.process_tree import Process


def rss_bytes(tree: Iterable[Process]) -> int:
    """Resident memory summed over the tree: pages that processes share are counted in each."""
    return sum(process.rss_bytes for process in tree)


def pss_bytes(tree: Iterable[Process]) -> int:
    """Resident memory with shared pages divided among their sharers: right for a tree, but slow to ask for."""
    return sum(_pss(process) for process in tree)


def _pss(process: Process) -> int:
    try:
        with open(f"/proc/{process.pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass  # not allowed, or it has just ended
    return process.rss_bytes


def disk_bytes(folders: Iterable[str], ignore: tuple[str, ...] = ()) -> int:
    """Disk space taken below the folders, without following links.

    `ignore`: how names of entries begin that do not count where they stand directly in one of the folders.
    """
    total = 0
    pending = list(folders)
    top = set(pending)
    while pending:
        folder = pending.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue  # it has been removed
        for entry in entries:
            if folder in top and entry.name.startswith(ignore):
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
            except OSError:
                continue
    return total


def oom_kill_counter() -> Callable[[], int]:
    """A way to read the kernel's count of out-of-memory kills: our cgroup's, or else the machine's.

    The counter is chosen once, so that two readings can be subtracted.
    """
    for path, key in (*_cgroup_counters(), ("/proc/vmstat", "oom_kill")):
        if _read_count(path, key) is not None:
            return lambda path=path, key=key: _read_count(path, key) or 0  # type: ignore[misc]
    return lambda: 0


def _cgroup_counters() -> list[tuple[str, str]]:
    """Counters of version 2 and of version 1 for the cgroup we are in."""
    found: list[tuple[str, str]] = []
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return found
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            found.insert(0, (f"/sys/fs/cgroup{path}/memory.events", "oom_kill"))
        elif "memory" in controllers.split(","):
            found.append((f"/sys/fs/cgroup/memory{path}/memory.oom_control", "oom_kill"))
    return found


def _read_count(path: str, key: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            for line in file:
                name, _, value = line.partition(" ")
                if name == key:
                    return int(value)
    except (OSError, ValueError):
        pass
    return None
