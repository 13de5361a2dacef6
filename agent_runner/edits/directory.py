"""A reply applied to the files of a folder: read here, changed by the engine, written by `writer`, all or none.

No symbolic link is followed below the root (see `folders`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from agent_runner.edits.engine import plan
from agent_runner.edits.folders import open_file, parent, regular_files
from agent_runner.edits.guards import forbidden_path
from agent_runner.edits.names import plain_path
from agent_runner.edits.outcome import EditOutcome
from agent_runner.edits.sources import Unreadable, listed
from agent_runner.edits.writer import Change, replace_all
from agent_runner.errors import MachineError

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
    somebody else. Then nothing was changed, or the message names every file that could not be put back.
    """
    try:
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # ValueError: no path at all, as with a NUL in it
        reason = error.strerror if isinstance(error, OSError) else error
        raise MachineError(
            f"the folder {str(root)!r} cannot be opened: {reason}",
            "Name a folder that exists and can be read.",
        ) from error
    try:
        files = _Files(folder, listed(editable))
        outcome = plan(reply, files, dry_run=dry_run)
        if outcome.applied and not dry_run:
            replace_all(folder, [files.change(name, text) for name, text in outcome.files.items()])
        return outcome
    finally:
        os.close(folder)


@dataclass(frozen=True)
class _Found:
    """A file as it was read. `encoding` gives back the very bytes of what was not edited."""

    data: bytes
    encoding: str


class _Files:
    """The files of a folder, read on demand and once."""

    def __init__(self, folder: int, editable: Collection[str] | None) -> None:
        self._folder = folder
        self._read: dict[str, _Found | Unreadable | None] = {}
        self._ascii_only: set[str] = set()
        if editable is None:
            self.names: Collection[str] = dict.fromkeys(sorted(regular_files(folder)))
            self.editable: Collection[str] = self.names
        else:
            self.editable = dict.fromkeys(plain_path(name) for name in editable)
            self.names = dict.fromkeys(name for name in self.editable if self._exists(name))

    @property
    def ascii_only(self) -> Collection[str]:
        return self._ascii_only

    def read(self, name: str) -> str | Unreadable | None:
        """The text of a file, exactly: undecodable bytes make it Latin-1, which keeps every byte."""
        if name not in self._read:
            reason = forbidden_path(name)
            self._read[name] = Unreadable(reason) if reason else _read(self._folder, name)
        found = self._read[name]
        if not isinstance(found, _Found):
            return found
        if found.encoding != "utf-8":
            self._ascii_only.add(name)
        return found.data.decode(found.encoding)

    def change(self, name: str, text: str) -> Change:
        found = self._read[name]
        assert not isinstance(found, Unreadable)  # such a file is never changed
        if found is None:
            return Change(name, None, text.encode())
        return Change(name, found.data, text.encode(found.encoding))

    def _exists(self, name: str) -> bool:
        return forbidden_path(name) is None and self.read(name) is not None


def _read(folder: int, name: str) -> _Found | Unreadable | None:
    try:
        with parent(folder, name) as (inner, last):
            status = os.stat(last, dir_fd=inner, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                return Unreadable("it is a symbolic link")
            descriptor = open_file(last, inner)
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
    return _Found(data, encoding)
