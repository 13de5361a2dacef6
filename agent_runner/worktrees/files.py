"""The files of a worktree, where runs write: read, compared and put back without following any link.

Every folder on the way to a file is opened from the one above it with O_NOFOLLOW; nothing waits for a pipe, and
nothing but a regular file is ever read. What stands in the way of a committed file is renamed, never removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from agent_runner.worktrees.objects import FILE, PROGRAM, Entry

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20
_SETTLED_NS = 2 * 10**9  # a file this long unchanged cannot change again under the same times


class Files:
    """The files below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._ids: dict[tuple[int, ...], str] = {}  # of large files, by what stat says of them

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Content and git mode of a regular file; None where there is nothing at all.

        Raises:
            OSError: something else than a regular file is there, or on the way to it.
        """
        try:
            with self._opened(name) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
                return file.read(), _mode(os.fstat(descriptor))
        except FileNotFoundError:
            return None

    def differing(self, files: Mapping[str, Entry]) -> list[str]:
        """Those of the named files that are not, byte for byte, what the listing says."""
        regular = ((name, entry) for name, entry in files.items() if entry.regular)
        return [name for name, entry in regular if not self._is(name, entry)]

    def remove(self, name: str, entry: Entry) -> None:
        """Remove a file that is as the listing says; any other stays."""
        if self._is(name, entry):
            with self._parent(name) as (folder, last):
                os.unlink(last, dir_fd=folder)

    def others(self, files: Mapping[str, Entry]) -> list[str]:
        """What lies here beside the listed files and the runs' own folders.

        Folders without any listed file are named as a whole, with a `/` at the end.
        """
        folders = {str(parent) for name in files for parent in Path(name).parents}
        return sorted(self._others("", files, folders))

    def write(self, name: str, data: bytes, mode: str, *, keep: bool = False) -> None:
        """Put a file there, atomically. What stands on the way to it, or bears its name, is set aside.

        keep: also a regular file of its name is; otherwise that is replaced.
        """
        with self._parent(name, make=True) as (folder, last):
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(last, dir_fd=folder, follow_symlinks=False)
                if keep or not stat.S_ISREG(status.st_mode):
                    set_aside(last, folder)
            aside = f".{last}.{secrets.token_hex(4)}"
            permissions = 0o755 if mode == PROGRAM else 0o644
            with os.fdopen(os.open(aside, _NEW, permissions, dir_fd=folder), "wb") as file:
                file.write(data)
            os.rename(aside, last, src_dir_fd=folder, dst_dir_fd=folder)

    # ------------------------------------------------------------ inside

    def _is(self, name: str, entry: Entry) -> bool:
        try:
            with self._opened(name) as descriptor:
                status = os.fstat(descriptor)
                if status.st_size != entry.size or _mode(status) != entry.mode:
                    return False
                return self._id(descriptor, status) == entry.id
        except OSError:  # missing, a link, a folder, unreadable: not what was committed
            return False

    def _id(self, descriptor: int, status: os.stat_result) -> str:
        """The git id of a file's content. ctime is in the key: a program cannot set it."""
        key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        known = self._ids.get(key)
        if known is not None:
            return known
        digest = hashlib.sha1(b"blob %d\0" % status.st_size)
        while chunk := os.read(descriptor, _CHUNK):
            digest.update(chunk)
        if status.st_size >= _CHUNK and time.time_ns() - status.st_ctime_ns > _SETTLED_NS:
            self._ids[key] = digest.hexdigest()
        return digest.hexdigest()

    def _others(self, base: str, files: Mapping[str, Entry], folders: set[str]) -> Iterator[str]:
        try:
            with self._folder(base) as folder:
                found = [(e.name, e.is_dir(follow_symlinks=False)) for e in os.scandir(folder)]
        except OSError:  # no longer a folder: its files differ, and putting them back sets it aside
            return
        for last, is_folder in found:
            name = f"{base}/{last}" if base else last
            if name == ".git" or name in files:
                continue
            if is_folder and not base and last.startswith("run_"):
                continue
            if is_folder and name in folders:
                yield from self._others(name, files, folders)
            elif name not in folders:
                yield f"{name}/" if is_folder else name

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[int]:
        with self._parent(name) as (folder, last):
            descriptor = os.open(last, _FILE, dir_fd=folder)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(f"{name} is not a regular file")
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _parent(self, name: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        above, _, last = name.rpartition("/")
        with self._folder(above, make=make) as folder:
            yield folder, last

    @contextlib.contextmanager
    def _folder(self, path: str, *, make: bool = False) -> Iterator[int]:
        folder = os.open(self.root, _FOLDER)
        try:
            for part in path.split("/") if path else ():
                inner = _enter(part, folder, make=make)
                os.close(folder)
                folder = inner
            yield folder
        finally:
            os.close(folder)


def plain_bytes(path: Path, limit: int = 4096) -> bytes | None:
    """The start of a small file; None where there is no regular file of that name."""
    try:
        descriptor = os.open(path, _FILE)
    except OSError:
        return None
    try:
        return os.read(descriptor, limit) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    finally:
        os.close(descriptor)


def set_aside(name: str, folder: int) -> None:
    """Give what bears a name another one: it is evidence of what a run did."""
    aside = f"{name}.before-{time.time_ns()}"
    os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=folder)


def _enter(part: str, folder: int, *, make: bool) -> int:
    try:
        return os.open(part, _FOLDER, dir_fd=folder)
    except OSError as error:
        if not make:
            raise
        if not isinstance(error, FileNotFoundError):
            set_aside(part, folder)  # a link, a file, or a folder that cannot be entered
    os.mkdir(part, dir_fd=folder)
    return os.open(part, _FOLDER, dir_fd=folder)


def _mode(status: os.stat_result) -> str:
    return PROGRAM if status.st_mode & stat.S_IXUSR else FILE
