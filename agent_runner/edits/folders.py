"""Ways into a folder that follow no symbolic link below it, however its contents change meanwhile.

Every folder on the way to a file is opened from the one above it with O_NOFOLLOW, and the file is reached
through the last of them, so nothing can be swapped in between.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from agent_runner.edits.guards import forbidden_path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # never waits for a pipe


@contextlib.contextmanager
def parent(root: int, path: str) -> Iterator[tuple[int, str]]:
    """The folder that a path lies in, opened, and the last part of the path."""
    above, _, last = path.rpartition("/")
    folder = _folder(root, above)
    try:
        yield folder, last
    finally:
        os.close(folder)


def open_file(name: str, folder: int) -> int:
    """A file of this folder, opened for reading."""
    return os.open(name, _FILE, dir_fd=folder)


def _folder(start: int, path: str) -> int:
    """A folder below `start`, opened; only one is held open on the way, so that no depth uses them up."""
    folder = os.dup(start)
    for part in path.split("/") if path else ():
        above = folder
        try:
            folder = os.open(part, _FOLDER, dir_fd=above)
        finally:
            os.close(above)
    return folder


def regular_files(root: int) -> Iterator[str]:
    """Every regular file below a folder, as a path; links and git's own are left out.

    What cannot be read is left out too: nothing in it can be edited. One folder is open at a time. The next one
    mostly lies in it and is opened from there: from the root, each would cost as many steps as it is deep.
    """
    here, folder = "", os.dup(root)
    try:
        pending = [""]
        while pending:
            path = pending.pop()
            below = path.removeprefix(here).rstrip("/") if path.startswith(here) else None
            with contextlib.suppress(OSError):
                opened = (
                    _folder(root, path.rstrip("/")) if below is None else _folder(folder, below)
                )
                os.close(folder)
                here, folder = path, opened
                for entry in _entries(folder):
                    if entry.is_file(follow_symlinks=False):
                        yield path + entry.name
                    elif entry.is_dir(follow_symlinks=False):
                        pending.append(f"{path}{entry.name}/")
    finally:
        os.close(folder)


def _entries(folder: int) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if forbidden_path(entry.name) is None]
