"""Changed files to the disk: all of them, or none."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from agent_runner.edits.folders import open_file, parent
from agent_runner.errors import MachineError


@dataclass(frozen=True)
class Change:
    """What becomes of a file: the bytes that were read (None: a new file), and the new ones."""

    name: str
    old: bytes | None
    new: bytes


class _ChangedMeanwhile(Exception):
    """Somebody else wrote the file after it was read."""


def replace_all(root: int, changes: Sequence[Change]) -> None:
    """Stage every file, then swap them in; put back what was swapped in when a later one fails."""
    made: list[str] = []
    name = ""
    with contextlib.ExitStack() as stack:
        staged: list[_Staged] = []
        try:
            for change in changes:
                name = change.name
                if change.old is None:
                    _make_folders(root, name, made)
                staged.append(_Staged(stack, root, change))
                staged[-1].write()
            for item in staged:
                name = item.name
                item.check_unchanged()
                item.swap()
        except BaseException as error:
            lost = [f"`{item.name}` {state}" for item in reversed(staged) if (state := item.undo())]
            _remove_folders(root, made)
            if isinstance(error, (OSError, _ChangedMeanwhile)):
                raise _failure(name, error, lost) from error
            if lost:
                error.add_note(_not_put_back(lost))
            raise


def _failure(name: str, error: OSError | _ChangedMeanwhile, lost: Sequence[str]) -> MachineError:
    """What to tell, in the user's words: no name of a staged file means anything to them."""
    if isinstance(error, _ChangedMeanwhile):
        message = f"{name} was changed by somebody else while the reply was applied"
        remedy = "Send the reply again when nothing else writes to the folder."
    else:
        message = f"{name} cannot be written: {error.strerror or error}"
        remedy = (
            f"Free disk space, or let this program replace {name} (it may be immutable, mounted on its own, or "
            "in a folder that cannot be written), and send the reply again."
        )
    if not lost:
        return MachineError(f"{message}; nothing was changed", remedy)
    return MachineError(
        f"{message}. {_not_put_back(lost)}",
        "Put these files right by hand (what a replaced file held is kept beside it, in a hidden file whose "
        f"name ends in `.old`). {remedy}",
    )


def _not_put_back(lost: Sequence[str]) -> str:
    return f"Not everything could be put back: {'; '.join(lost)}"


def _make_folders(root: int, name: str, made: list[str]) -> None:
    """The folders that a new file needs; those that were missing are added to `made`."""
    parts = name.split("/")
    for depth in range(1, len(parts)):
        path = "/".join(parts[:depth])
        with parent(root, path) as (folder, last), contextlib.suppress(FileExistsError):
            if _status(last, folder) is None:
                _refuse_append_only(folder)
                os.mkdir(last, dir_fd=folder)
                made.append(path)


def _remove_folders(root: int, made: Sequence[str]) -> None:
    for path in reversed(made):
        # An error: somebody else uses it by now.
        with contextlib.suppress(OSError), parent(root, path) as (folder, last):
            os.rmdir(last, dir_fd=folder)


def _status(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


_GET_FLAGS = 0x80086601  # FS_IOC_GETFLAGS
_APPEND_ONLY = 0x20  # FS_APPEND_FL, as `chattr +a` sets it


def _refuse_append_only(folder: int) -> None:
    """Nothing made in an append-only folder can be removed again, so nothing may be made there at all."""
    flags = bytearray(8)
    with contextlib.suppress(OSError):  # a file system without such flags
        fcntl.ioctl(folder, _GET_FLAGS, flags)
    if int.from_bytes(flags[:4], sys.byteorder) & _APPEND_ONLY:
        raise PermissionError(errno.EPERM, "its folder is append-only")


class _Staged:
    """One file's new content beside it, on disk, and a second name of its old content."""

    def __init__(self, stack: contextlib.ExitStack, root: int, change: Change) -> None:
        self.name = change.name
        self._change = change
        self._folder, self._file = stack.enter_context(parent(root, change.name))
        token = secrets.token_hex(8)
        self._new, self._old = f".edit-{token}.new", f".edit-{token}.old"
        self._mode = 0
        self._swapped = self._lost = False
        stack.callback(self._discard)

    def write(self) -> None:
        """Everything that needs space or permission, before any file is touched."""
        _refuse_append_only(self._folder)
        old = self._change.old
        if old is None:
            self._write(self._new, self._change.new, None)
            return
        like = _status(self._file, self._folder)
        if like is None:
            raise _ChangedMeanwhile
        self._write(self._new, self._change.new, like)
        self._mode = stat.S_IMODE(like.st_mode)
        try:
            self._link(self._file, self._old)
        except (OSError, NotImplementedError):  # no hard links here, or none to this file
            self._write(self._old, old, like)

    def _write(self, name: str, data: bytes, like: os.stat_result | None) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        mode = 0o666 if like is None else 0o600  # the umask makes a new file's mode
        descriptor = os.open(name, flags, mode, dir_fd=self._folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if like is not None:
                with contextlib.suppress(PermissionError):  # only root can give files away
                    os.fchown(descriptor, like.st_uid, like.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(like.st_mode))
            os.fsync(descriptor)

    def check_unchanged(self) -> None:
        """The file must still be what the edit was made for; its mode may change until the very end."""
        status = _status(self._file, self._folder)
        old = self._change.old
        if old is None or status is None:
            if old is not None or status is not None:
                raise _ChangedMeanwhile
            return
        if not self._holds(old):
            raise _ChangedMeanwhile
        mode = stat.S_IMODE(status.st_mode)
        if mode != self._mode:
            os.chmod(self._new, mode, dir_fd=self._folder)

    def swap(self) -> None:
        """The new content under the file's name."""
        self._swapped = True  # before it is: a stop may come at any moment
        if self._change.old is None:
            # A link never replaces what somebody else has made by now. The rename then finds the file in its
            # place and changes nothing; where there are no hard links, it does all of it.
            try:
                self._link(self._new, self._file)
            except FileExistsError:
                self._swapped = False
                raise _ChangedMeanwhile from None
            except (OSError, NotImplementedError):
                pass
        self._rename(self._new)
        os.fsync(self._folder)

    def undo(self) -> str | None:
        """The old content again, and nothing beside it; else what state the file is in."""
        state = None
        if self._swapped:
            state = self._remove() if self._change.old is None else self._put_back(self._change.old)
            with contextlib.suppress(OSError):
                os.fsync(self._folder)
        self._lost = state is not None
        self._discard()
        return state

    def _remove(self) -> str | None:
        try:
            if self._holds(self._change.new):
                os.unlink(self._file, dir_fd=self._folder)
        except OSError as error:
            return f"was created and cannot be removed ({error.strerror or error})"
        return None

    def _put_back(self, old: bytes) -> str | None:
        with contextlib.suppress(OSError):
            if self._holds(old):
                return None  # it was never swapped: what cannot be renamed over cannot be put back so either
            if not self._holds(self._change.new) and _status(self._file, self._folder) is not None:
                return "was changed by somebody else, after the edit"
        with contextlib.suppress(OSError):
            self._rename(self._old)
            return None
        with contextlib.suppress(OSError):
            self._overwrite(old)
            return None
        with contextlib.suppress(OSError):
            if self._holds(self._change.new):
                return "still has the new text"
        return "may have lost its text"

    def _overwrite(self, data: bytes) -> None:
        """The last resort, since a stop half-way leaves half of it."""
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self._file, flags, dir_fd=self._folder), "wb") as file:
            file.write(data)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())

    def _holds(self, data: bytes) -> bool:
        """Whether the file has this very content now."""
        status = _status(self._file, self._folder)
        if status is None or not stat.S_ISREG(status.st_mode):
            return False
        with os.fdopen(open_file(self._file, self._folder), "rb") as file:
            return file.read(len(data) + 1) == data

    def _link(self, source: str, target: str) -> None:
        folder = self._folder
        os.link(source, target, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)

    def _rename(self, source: str) -> None:
        os.replace(source, self._file, src_dir_fd=self._folder, dst_dir_fd=self._folder)

    def _discard(self) -> None:
        """What was staged; a file that could not be put back keeps its old content beside it."""
        for name in (self._new,) if self._lost else (self._new, self._old):
            with contextlib.suppress(OSError):  # a file too many is no failure of the edit
                os.unlink(name, dir_fd=self._folder)
