"""Trees of files that a job has made: given to ourselves, opened, removed. Standard library only.

They can be deeper than a path can be long, and full of links to elsewhere: everything is reached by
descriptor from the folder above it, and nothing is followed. Nobody else may be at work in them; a walk ends
where a folder was moved away all the same.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE_OF_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class Entry(NamedTuple):
    """Something in a tree: its name in the folder that is open as `folder` for the moment."""

    folder: int
    name: str
    status: os.stat_result

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)


Visitor = Callable[[Entry], None]


def remove(folder: str) -> None:
    """Remove a folder of any depth; what resists stays."""
    with contextlib.suppress(OSError):
        _visit_top(folder, _open_to_owner)
        _visit_below(folder, _open_to_owner, _remove)
        os.rmdir(folder)


def own(path: str) -> None:
    """Give a tree to ourselves: its owner may read it, nobody else write to it, and no set-uid bit is left."""
    with contextlib.suppress(OSError):
        if _visit_top(path, _own).is_folder:
            _visit_below(path, _own)


def let_others_write(folder: str) -> None:
    """Let any user write to the folders and files of a tree, but for what not even its owner may write to.

    Files with a second name are left as they are: that name may be anywhere. `own` takes it back.
    Raises OSError: it cannot be read.
    """
    _visit_top(folder, _let_others_write)
    _visit_below(folder, _let_others_write)


def let_others_read(path: str) -> None:
    """Let any user read what its owner may read in a tree."""
    if _visit_top(path, _let_others_read).is_folder:
        _visit_below(path, _let_others_read)


def _open_to_owner(entry: Entry) -> None:
    if entry.is_folder:
        _set_mode(entry, stat.S_IMODE(entry.status.st_mode) | stat.S_IRWXU)


def _remove(entry: Entry) -> None:
    if entry.is_folder:
        os.rmdir(entry.name, dir_fd=entry.folder)
    else:
        os.unlink(entry.name, dir_fd=entry.folder)


def _own(entry: Entry) -> None:
    if os.geteuid() == 0:
        os.chown(entry.name, os.geteuid(), os.getegid(), dir_fd=entry.folder, follow_symlinks=False)
    mode = stat.S_IMODE(entry.status.st_mode) & ~_WRITE_OF_OTHERS
    if entry.is_folder:
        _set_mode(entry, mode | stat.S_IRWXU)
    elif stat.S_ISREG(entry.status.st_mode):
        _set_mode(entry, mode & 0o777 | stat.S_IRUSR)


def _let_others_write(entry: Entry) -> None:
    mode = entry.status.st_mode
    if not mode & stat.S_IWUSR:
        return
    if entry.is_folder:
        _set_mode(entry, 0o777)
    elif stat.S_ISREG(mode) and entry.status.st_nlink == 1:
        _set_mode(entry, stat.S_IMODE(mode) & 0o777 | 0o666)


def _let_others_read(entry: Entry) -> None:
    mode = stat.S_IMODE(entry.status.st_mode)
    if entry.is_folder or stat.S_ISREG(entry.status.st_mode):
        _set_mode(entry, mode | (mode & 0o500) >> 3 | (mode & 0o500) >> 6)


def _set_mode(entry: Entry, mode: int) -> None:
    """Of exactly what was looked at: by a descriptor, since a name could be another's, or a link, by now.

    Raises OSError: it is no longer there.
    """
    if mode == stat.S_IMODE(entry.status.st_mode):
        return
    # O_PATH opens also what nobody may read, and starts nothing; fchmod does not take it.
    found = os.open(entry.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=entry.folder)
    try:
        if _identity(found) != (entry.status.st_dev, entry.status.st_ino):
            raise OSError(f"{entry.name} was replaced while it was looked at")
        os.chmod(f"/proc/self/fd/{found}", mode)
    finally:
        os.close(found)


def _visit_top(path: str, visitor: Visitor) -> Entry:
    parent = os.open(os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        name = os.path.basename(path)
        entry = Entry(parent, name, os.stat(name, dir_fd=parent, follow_symlinks=False))
        visitor(entry)
        return entry
    finally:
        os.close(parent)


def _visit_below(top: str, before: Visitor, after: Visitor = lambda _: None) -> None:
    """Call for everything below a folder: `before` entering a folder and `after` leaving it, both for a file.

    What they may not do is passed over. Raises OSError: the folder cannot be read, or was moved away.
    """
    for entry, is_left in _walk(top):
        with contextlib.suppress(OSError):
            (after if is_left else before)(entry)


def _walk(top: str) -> Iterator[tuple[Entry, bool]]:
    """Every entry twice, a folder's own entries in between; one descriptor is open at a time."""
    folder = os.open(top, _FOLDER)
    above: list[tuple[Entry, Iterator[str], tuple[int, int]]] = []
    try:
        names = iter(os.listdir(folder))
        while True:
            name = next(names, None)
            if name is not None:
                status = _status(folder, name)
                if status is None:
                    continue
                entry = Entry(folder, name, status)
                yield entry, False
                if (child := _enter(entry)) is not None:
                    above.append((entry, names, _identity(folder)))
                    os.close(folder)
                    folder, names = child, iter(os.listdir(child))
                else:
                    yield entry, True
            elif above:
                entry, names, identity = above.pop()
                folder = _leave(folder, identity)
                yield entry._replace(folder=folder), True
            else:
                return
    finally:
        os.close(folder)


def _status(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None


def _enter(entry: Entry) -> int | None:
    """Open a folder; None for what is none, or cannot be read."""
    if not entry.is_folder:
        return None
    try:
        return os.open(entry.name, _FOLDER, dir_fd=entry.folder)
    except OSError:
        return None


def _leave(folder: int, expected: tuple[int, int]) -> int:
    """Open the folder above in place of this one."""
    above = os.open("..", _FOLDER, dir_fd=folder)
    os.dup2(above, folder, inheritable=False)
    os.close(above)
    if _identity(folder) != expected:
        raise OSError("a folder was moved away while it was looked at")
    return folder


def _identity(folder: int) -> tuple[int, int]:
    status = os.fstat(folder)
    return status.st_dev, status.st_ino
