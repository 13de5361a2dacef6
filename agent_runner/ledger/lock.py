"""One writer at a time: a lock that excludes other threads, and other processes on this machine."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent_runner.errors import LedgerError

WAIT_S = 60.0  # a transaction takes about a millisecond: whoever waits this long waits for a stuck process
_LONGEST_NAP_S = 0.01


class WriterLock:
    """An exclusive flock on a file of its own, and a mutex for the threads of this process.

    The kernel lets go of the flock when its holder dies. It is asked for again and again rather than
    waited for, so that a stuck holder ends in a message and not in silence.
    """

    def __init__(self, path: Path, wait_s: float = WAIT_S) -> None:
        self._path = path
        self._wait_s = wait_s
        self._mutex = threading.Lock()
        self._descriptor: int | None = None
        _locks.add(self)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock.

        Raises:
            LedgerError: somebody else held it for a whole minute.
            OSError: the lock file cannot be made.
        """
        deadline = time.monotonic() + self._wait_s
        if not self._mutex.acquire(timeout=self._wait_s):
            raise self._stuck("another thread of this process")
        try:
            self._descriptor = self._flock(deadline)
            try:
                yield
            finally:
                descriptor, self._descriptor = self._descriptor, None
                # Not by closing alone: a child forked meanwhile has a copy of the descriptor.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                os.close(descriptor)
        finally:
            self._mutex.release()

    def _flock(self, deadline: float) -> int:
        nap = 0.0002
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                while not _try_flock(descriptor):
                    if time.monotonic() > deadline:
                        raise self._stuck("another process")
                    time.sleep(nap)
                    nap = min(2 * nap, _LONGEST_NAP_S)
                if _is_at(descriptor, self._path):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # somebody deleted the lock file: what was locked locks nobody out

    def _stuck(self, holder: str) -> LedgerError:
        return LedgerError(
            f"{holder} has held the ledger's lock {self._path} for {self._wait_s:.0f} s; nothing was written",
            f"See who holds it (`fuser {self._path}`), let it go on or end it, then repeat.",
        )

    def forget(self) -> None:
        """In a forked child: the parent's threads are not here, and its flock is not ours."""
        self._mutex = threading.Lock()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _try_flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


_locks: weakref.WeakSet[WriterLock] = weakref.WeakSet()


def _forget_all() -> None:
    for lock in list(_locks):
        lock.forget()


os.register_at_fork(after_in_child=_forget_all)
