"""Putting a rebuilt ledger in the place of another one, while other processes may have that one open."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from agent_runner.errors import LedgerError
from agent_runner.ledger.connection import LedgerFile


def put_in_place(new: Path, path: Path, kept: Path, *, still_true: Callable[[], None]) -> None:
    """Make `new` the ledger at `path`; the file that is there now stays under the name `kept`.

    At any moment, also after a power cut, `path` is one whole ledger, the old or the new. Processes that
    have the old one open notice at their next transaction (see `connection`).

    Args:
        new: a closed ledger in the same folder.
        still_true: called under the lock, before anything is moved; raises where `new` no longer fits.

    Raises:
        LedgerError: another program has the old file open for reading; nothing was moved.
    """
    if _log(new).exists():
        raise LedgerError(
            f"{new} is still open somewhere", "Close it, then repeat; nothing was moved."
        )
    file = LedgerFile(path)
    with file.exclusive():
        still_true()
        if path.exists():
            if _log(
                path
            ).exists():  # before SQLite looks at it: it deletes the log of a damaged file
                shutil.copy2(_log(path), _log(kept))
            if _emptied(path, kept):
                _log(kept).unlink(missing_ok=True)
            _keep(path, kept)
            os.chmod(new, path.stat().st_mode & 0o777)
        # Left beside the new file, either would be taken for its own: the log would be played back into
        # it, and the index would tell of pages that it does not have.
        for side in (_log(path), _index(path)):
            side.unlink(missing_ok=True)
        os.replace(new, path)
        _sync_folder(path.parent)


def _emptied(path: Path, kept: Path) -> bool:
    """Take everything committed into the main file; False where it is too damaged for that."""
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=1, isolation_level=None)) as old:
            (busy, _, _) = old.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.DatabaseError:
        return False
    if busy:
        _log(kept).unlink(missing_ok=True)
        raise LedgerError(
            f"another program is reading {path}",
            "Close it (a database shell, a copy under way), then repeat; nothing was moved.",
        )
    return True


def _keep(path: Path, kept: Path) -> None:
    try:
        os.link(path, kept)
    except OSError:  # a file system without hard links
        shutil.copy2(path, kept)


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _index(path: Path) -> Path:
    return path.with_name(f"{path.name}-shm")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
