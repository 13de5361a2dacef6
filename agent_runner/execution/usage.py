"""What a job uses: memory and threads of its tree, disk below its folders, the kernel's out-of-memory kills.

Standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

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


def threads(tree: Iterable[Process]) -> int:
    """Threads of all processes: at least one each, also of one that has just ended."""
    return sum(_threads(process) for process in tree)


def _threads(process: Process) -> int:
    """By the links of its folder of threads, which Linux counts without listing them: two, and one for each."""
    try:
        return max(1, os.stat(f"/proc/{process.pid}/task").st_nlink - 2)
    except OSError:
        return 1


class Disk(NamedTuple):
    """Space taken below some folders, and how many files and folders there are."""

    bytes: int
    entries: int


def disk_use(
    folders: Iterable[str], ignore: tuple[str, ...] = (), enough_entries: int | None = None
) -> Disk:
    """What lies below the folders, without following links; a file with several names takes space once.

    Args:
        folders: where to look; one that lies in another of them is counted once.
        ignore: how names of entries begin that do not count where they stand directly in one of the folders.
        enough_entries: the count may end as soon as there are more.
    """
    size = entries = 0
    linked: set[tuple[int, int]] = set()
    for entry in _walk(folders, ignore):
        entries += 1
        if enough_entries is not None and entries > enough_entries:
            break
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            continue  # it has been removed
        if status.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
            if (status.st_dev, status.st_ino) in linked:
                continue
            linked.add((status.st_dev, status.st_ino))
        size += status.st_blocks * 512
    return Disk(size, entries)


def _walk(folders: Iterable[str], ignore: tuple[str, ...]) -> Iterator[os.DirEntry[str]]:
    pending = list(folders)
    top = set(pending)
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if folder in top and entry.name.startswith(ignore):
                        continue
                    if entry.is_dir(follow_symlinks=False) and entry.path not in top:
                        pending.append(entry.path)
                    yield entry
        except OSError:
            continue  # it has been removed, or its owner has closed it to us


class FileSystem(NamedTuple):
    """Bytes of a file system: what users may still take, and its size."""

    free: int
    size: int


def file_system(path: str) -> FileSystem | None:
    """Of the file system on which `path` lies; None where that cannot be told."""
    try:
        status = os.statvfs(path)
    except OSError:
        return None
    return FileSystem(status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize)


def machine_memory_bytes() -> int | None:
    """The machine's memory; None where that cannot be told."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


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
