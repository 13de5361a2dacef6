"""What a run could have done to this machine: files, processes, mounts, before and after."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

STRAY_FOLDERS = [
    *(
        "/",
        "/tmp",
        "/var/tmp",
        "/run",
        "/run/lock",
        "/var/lock",
        "/dev",
        "/dev/shm",
        "/usr",
        "/usr/bin",
        "/usr/lib",
    ),
    *(
        "/usr/local/bin",
        "/etc",
        "/etc/cron.d",
        "/etc/profile.d",
        "/etc/ld.so.conf.d",
        "/opt",
        "/root",
        "/boot",
    ),
    *("/var/spool", "/var/lib", "/home", "/srv"),
]
READ_AT_MOST = 64 << 20


def keep_all(_: bytes) -> bool:
    """Prune nothing."""
    return False


def walk(
    root: Path, prune: Callable[[bytes], bool] = keep_all
) -> Iterator[tuple[bytes, os.stat_result]]:
    """Each entry below a folder, itself included, with its lstat: no links followed, names as bytes.

    Not recursive: a run may nest thousands of folders. What `prune` is true of is left out, with all below it.
    """
    todo = [os.fsencode(root)]
    while todo:
        path = todo.pop()
        if prune(path):
            continue
        with contextlib.suppress(OSError):
            info = os.lstat(path)
            yield path, info
            if stat.S_ISDIR(info.st_mode):
                todo.extend(entry.path for entry in os.scandir(path))


def read(path: bytes, limit: int = READ_AT_MOST) -> bytes:
    """A regular file's content, no link followed, never waiting; b"" of anything else."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    with os.fdopen(fd, "rb") as file:
        mode = os.fstat(fd).st_mode
        return file.read(limit) if stat.S_ISREG(mode) else b""


@dataclass(frozen=True)
class Entry:
    """What must not change of a file. ctime cannot be set by anybody, so it stands for the content, too."""

    mode: int
    owner: tuple[int, int]
    size: int
    times: tuple[int, int]
    links: int
    inode: int
    attributes: tuple[str, ...]


def snapshot(root: Path, prune: Callable[[bytes], bool] = keep_all) -> dict[bytes, Entry]:
    """All entries below a folder. Of folders, only rights count: their times follow from what is in them."""
    found = {}
    for path, info in walk(root, prune):
        folder = stat.S_ISDIR(info.st_mode)
        try:
            attributes = tuple(os.listxattr(path, follow_symlinks=False))
        except OSError:
            attributes = ()
        found[path] = Entry(
            mode=info.st_mode,
            owner=(info.st_uid, info.st_gid),
            size=0 if folder else info.st_size,
            times=(0, 0) if folder else (info.st_mtime_ns, info.st_ctime_ns),
            links=0 if folder else info.st_nlink,
            inode=info.st_ino,
            attributes=attributes,
        )
    return found


def contents(root: Path, prune: Callable[[bytes], bool] = keep_all) -> dict[bytes, str]:
    """All entries below a folder by kind and content: where the runner may change owners and rights."""
    found = {}
    for path, info in walk(root, prune):
        digest = hashlib.sha256(read(path)).hexdigest() if stat.S_ISREG(info.st_mode) else ""
        found[path] = f"{stat.S_IFMT(info.st_mode):o} {digest}"
    return found


def differences(before: Mapping[bytes, object], after: Mapping[bytes, object]) -> list[str]:
    """What was added, removed and changed, a line each."""
    lines = [f"added {path!r}" for path in after.keys() - before.keys()]
    lines += [f"removed {path!r}" for path in before.keys() - after.keys()]
    for path in before.keys() & after.keys():
        if before[path] != after[path]:
            lines.append(f"changed {path!r}: {before[path]} -> {after[path]}")
    return sorted(lines)


def strays(name: str, folders: list[str]) -> list[str]:
    """Files of that name in shared folders of the machine; they are removed."""
    found = []
    for folder in [*STRAY_FOLDERS, *folders]:
        with contextlib.suppress(OSError):
            for entry in os.listdir(folder):
                if entry.startswith(name):
                    found.append(f"{folder}/{entry}")
                    os.unlink(f"{folder}/{entry}")
    return found


def processes(marks: list[str]) -> dict[int, str]:
    """Living processes whose name is a mark, or whose command line holds one; no zombies."""
    found = {}
    for text in os.listdir("/proc"):
        if not text.isdigit() or int(text) == os.getpid():
            continue
        try:
            line = Path(f"/proc/{text}/cmdline").read_bytes().decode("utf-8", "replace")
            status = Path(f"/proc/{text}/stat").read_text(errors="replace")
        except OSError:
            continue
        name, state = (
            status[status.index("(") + 1 : status.rindex(")")],
            status.rpartition(")")[2].split()[0],
        )
        if state not in "ZX" and any(name == mark or mark in line for mark in marks):
            found[int(text)] = f"{name}: {line.replace(chr(0), ' ')[:200]}"
    return found


def left_after(marks: list[str], seconds: float) -> list[str]:
    """The processes that are still there when the time is up; they are ended then."""
    end = time.monotonic() + seconds
    while (found := processes(marks)) and time.monotonic() < end:
        time.sleep(0.01)
    for _ in range(200):
        living = processes(marks)
        for pid in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not living:
            break
    return sorted(found.values())


def mounted(path: Path) -> bool:
    """Whether something is mounted there."""
    places = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return str(path) in places
