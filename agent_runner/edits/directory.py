"""The one module here that touches the disk: a folder's files in, the changed files out, all or none.

No symbolic link is followed below the root: every folder on the way is opened with O_NOFOLLOW, and every
file is reached through the folder that was opened, so nothing can be swapped in between.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_runner.edits.engine import Unreadable, plan
from agent_runner.edits.guards import forbidden_path
from agent_runner.edits.outcome import EditOutcome
from agent_runner.errors import MachineError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_LARGEST = 64 * 1024 * 1024  # bytes of a file that is edited


def apply_to_directory(
    reply: str,
    root: Path,
    editable: Collection[str] | None = None,
    *,
    dry_run: bool = False,
) -> EditOutcome:
    """Apply the SEARCH/REPLACE blocks of a reply to the files of a folder: all of them, or none.

    `editable` are paths relative to `root`; None allows every regular file below it (git's own never). A
    listed file that does not exist may be created. Each file is replaced atomically and keeps its mode;
    when one of several cannot be replaced, the others are put back.

    Raises MachineError when the folder cannot be read, or a file cannot be written or was changed meanwhile by
    somebody else; then nothing was changed.
    """
    if isinstance(editable, str):
        editable = (editable,)
    try:
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise MachineError(
            f"the folder {root} cannot be opened: {error.strerror}",
            "Name a folder that exists and can be read.",
        ) from error
    try:
        files = _Files(folder, editable)
        outcome = plan(reply, files, dry_run=dry_run)
        if outcome.applied and not dry_run:
            _replace_all(folder, [files.change(name, text) for name, text in outcome.files.items()])
        return outcome
    finally:
        os.close(folder)


@dataclass(frozen=True)
class _Found:
    """A file as it was read. `encoding` gives back the very bytes of what was not edited."""

    data: bytes
    mode: int
    owner: tuple[int, int]
    encoding: str


@dataclass(frozen=True)
class _Change:
    name: str
    before: _Found | None  # None: a new file
    data: bytes


class _Files:
    """The files of a folder, read on demand and once."""

    def __init__(self, folder: int, editable: Collection[str] | None) -> None:
        self._folder = folder
        self._read: dict[str, _Found | Unreadable | None] = {}
        self._ascii_only: set[str] = set()
        if editable is None:
            self.names: Collection[str] = dict.fromkeys(sorted(_walk(folder, "")))
            self.editable: Collection[str] = self.names
        else:
            self.editable = dict.fromkeys(_plain(name) for name in editable)
            self.names = dict.fromkeys(name for name in self.editable if self._exists(name))

    @property
    def ascii_only(self) -> Collection[str]:
        return self._ascii_only

    def read(self, name: str) -> str | Unreadable | None:
        """The text of a file, exactly: undecodable bytes make it Latin-1, which keeps every byte."""
        if name not in self._read:
            self._read[name] = _read(self._folder, name)
        found = self._read[name]
        if not isinstance(found, _Found):
            return found
        if found.encoding != "utf-8":
            self._ascii_only.add(name)
        return found.data.decode(found.encoding)

    def change(self, name: str, text: str) -> _Change:
        found = self._read[name]
        assert not isinstance(found, Unreadable)  # such a file is never changed
        return _Change(name, found, text.encode(found.encoding if found else "utf-8"))

    def _exists(self, name: str) -> bool:
        return forbidden_path(name) is None and self.read(name) is not None


def _plain(name: str) -> str:
    return name[2:] if name.startswith("./") else name


def _walk(folder: int, prefix: str) -> Iterator[str]:
    """Every regular file below a folder, as a path; links and git's own are left out."""
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        name = prefix + entry.name
        if forbidden_path(entry.name) is not None:
            continue
        if entry.is_file(follow_symlinks=False):
            yield name
        elif entry.is_dir(follow_symlinks=False):
            try:
                inner = os.open(entry.name, _FOLDER, dir_fd=folder)
            except OSError:
                continue  # gone, or not readable: nothing in it can be edited
            try:
                yield from _walk(inner, f"{name}/")
            finally:
                os.close(inner)


@contextlib.contextmanager
def _parent(
    folder: int, name: str, made: list[tuple[int, str]] | None = None
) -> Iterator[tuple[int, str]]:
    """The folder a path lies in, opened link by link, and the last part of the path.

    With `made`, missing folders are made and added to it, as (folder they lie in, name).
    """
    *parts, last = name.split("/")
    with contextlib.ExitStack() as stack:
        for part in parts:
            if made is not None:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=folder)
                    made.append((folder, part))
            folder = os.open(part, _FOLDER, dir_fd=folder)
            stack.callback(os.close, folder)
        yield folder, last


def _read(folder: int, name: str) -> _Found | Unreadable | None:
    try:
        with _parent(folder, name) as (inner, last):
            status = os.stat(last, dir_fd=inner, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                return Unreadable("it is a symbolic link")
            descriptor = os.open(last, _FILE, dir_fd=inner)
            with os.fdopen(descriptor, "rb") as file:
                return _found(os.fstat(descriptor), file.read(_LARGEST + 1))
    except FileNotFoundError:
        return None
    except NotADirectoryError:  # also what O_NOFOLLOW with O_DIRECTORY says about a link
        return Unreadable("a symbolic link or a file stands in the way to it")
    except OSError as error:
        return Unreadable(f"it cannot be read ({error.strerror})")


def _found(status: os.stat_result, data: bytes) -> _Found | Unreadable:
    if not stat.S_ISREG(status.st_mode):
        return Unreadable("it is not a regular file")
    if len(data) > _LARGEST:
        return Unreadable(f"it is larger than {_LARGEST // 2**20} MiB")
    try:
        data.decode("utf-8")
        encoding = "utf-8"
    except UnicodeDecodeError:
        encoding = "latin-1"
    mode = stat.S_IMODE(status.st_mode)
    return _Found(data, mode, (status.st_uid, status.st_gid), encoding)


# ---------------------------------------------------------------- writing


def _replace_all(folder: int, changes: Sequence[_Change]) -> None:
    """Stage every file, then swap them in; put back what was swapped in when a later one fails."""
    made: list[tuple[int, str]] = []
    with contextlib.ExitStack() as stack:
        staged: list[_Staged] = []
        try:
            for change in changes:
                staged.append(_Staged(stack, folder, change, made))
                staged[-1].write()
            for item in staged:
                item.check_unchanged()
                item.swap()
        except BaseException as error:
            for item in reversed(staged):
                item.undo()
            for parent, name in reversed(made):
                with contextlib.suppress(OSError):  # somebody else uses it by now
                    os.rmdir(name, dir_fd=parent)
            if not isinstance(error, OSError):
                raise
            raise MachineError(
                f"the edited files cannot be written: {error.strerror}; nothing was changed",
                "Free disk space, or let the server write in the folder, and send the reply again.",
            ) from error


class _Staged:
    """One file's new content beside it, on disk, and a second name of its old content."""

    def __init__(
        self,
        stack: contextlib.ExitStack,
        folder: int,
        change: _Change,
        made: list[tuple[int, str]],
    ) -> None:
        self._change = change
        creating = made if change.before is None else None
        self._folder, self._name = stack.enter_context(_parent(folder, change.name, creating))
        token = secrets.token_hex(8)
        self._new, self._old = f".edit-{token}.new", f".edit-{token}.old"
        self._swapped = False
        stack.callback(self._discard)

    def write(self) -> None:
        self._write(self._new, self._change.data)
        if self._change.before is not None:
            self._keep_old(self._change.before)

    def _keep_old(self, before: _Found) -> None:
        try:
            os.link(
                self._name,
                self._old,
                src_dir_fd=self._folder,
                dst_dir_fd=self._folder,
                follow_symlinks=False,
            )
        except (OSError, NotImplementedError):  # a file system without hard links
            self._write(self._old, before.data)

    def _write(self, name: str, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        before = self._change.before
        mode = 0o666 if before is None else 0o600  # the umask makes a new file's mode
        descriptor = os.open(name, flags, mode, dir_fd=self._folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if before is not None:
                with contextlib.suppress(PermissionError):  # only root can give files away
                    os.fchown(descriptor, *before.owner)
                os.fchmod(descriptor, before.mode)
            os.fsync(descriptor)

    def check_unchanged(self) -> None:
        """The file must still be what the edit was made for."""
        now = _read(self._folder, self._name)
        before = self._change.before
        same = (
            now is None if before is None else isinstance(now, _Found) and now.data == before.data
        )
        if not same:
            raise MachineError(
                f"{self._change.name} was changed by somebody else while the reply was "
                "applied; nothing was changed",
                "Send the reply again when nothing else writes to the folder.",
            )

    def swap(self) -> None:
        self._swapped = True  # before it is: putting back what was not swapped does no harm
        self._rename(self._new)
        os.fsync(self._folder)

    def undo(self) -> None:
        """The old content again, also when the disk no longer confirms anything, and nothing beside it."""
        if self._swapped:
            with contextlib.suppress(FileNotFoundError):
                if self._change.before is None:
                    os.unlink(self._name, dir_fd=self._folder)
                else:
                    self._rename(self._old)
            with contextlib.suppress(OSError):
                os.fsync(self._folder)
        self._discard()

    def _rename(self, source: str) -> None:
        os.replace(source, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def _discard(self) -> None:
        for name in (self._new, self._old):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._folder)
