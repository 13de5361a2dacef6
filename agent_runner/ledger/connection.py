"""The ledger file, opened: one connection, one transaction at a time, and plain words when it fails.

SQLite before 3.51.3 can lose data when one connection writes a WAL file while another one starts it anew.
So whatever is done with the file is done under one lock across all processes (`WriterLock`): no two
connections are ever at work at the same instant. (The last connection that a process leaves open at its
end is closed by SQLite, under a lock that needs every other connection gone.) The connection stays open
between transactions, which spares most of their cost; it is opened anew after a fork, after an error, and
when another file has taken the ledger's place.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from agent_runner.errors import LedgerError
from agent_runner.ledger import schema
from agent_runner.ledger.local_disk import refuse_network_disk
from agent_runner.ledger.lock import WAIT_S, WriterLock

_DAMAGED = {"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_SCHEMA"}
_REBUILD = "Rebuild it from the records with `agent-runner reindex`, which keeps this file."

# Files this process has checked already, by (device, inode).
_checked: set[tuple[int, int]] = set()
# Connections of a parent process: a forked child must neither use nor close them.
_left_to_the_parent: list[sa.Connection] = []


class LedgerFile:
    """The one way to the database. Safe to share between threads; a forked child may go on using it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = WriterLock(path.with_name(f"{path.name}.lock"))
        self._connection: sa.Connection | None = None
        self._process: int | None = None  # that opened the connection
        self._identity: tuple[int, int] | None = None  # (device, inode) of what it opened

    def create(self) -> None:
        """Make the file where it is missing, and bring an older one to this version."""
        with self._file_errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._exclusive(), self._guarded("nothing was changed"):
            self._ready(create=True)

    @contextmanager
    def transaction(self, if_it_fails: str) -> Iterator[sa.Connection]:
        """One transaction, committed at the end of the block.

        Args:
            if_it_fails: what then holds, for the error ("no run was reserved, and nothing is charged").

        Raises:
            LedgerError: the file cannot be used. Nothing of the block is in it, unless the message says
                that this is not known. The next transaction opens the file anew.
        """
        with self._exclusive(), self._guarded(if_it_fails):
            connection = self._ready()
            with connection.begin():
                yield connection

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep everybody else, and our own connection, away from the file (for putting another in place)."""
        with self._exclusive():
            self._close()
            yield

    def close(self) -> None:
        """Close the connection; the next transaction opens it again."""
        with self._exclusive():
            self._close()

    # ------------------------------------------------------------ the connection

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        with self._file_errors(), self.lock.held():
            yield

    @contextmanager
    def _file_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LedgerError(
                f"the ledger {self.path} cannot be used: {error.strerror or error}",
                "Check the folder, its permissions and the free disk space, then repeat; nothing was "
                "written.",
            ) from error

    def _ready(self, *, create: bool = False) -> sa.Connection:
        """The open connection, or a new one where the old one cannot serve."""
        present = _identity(self.path)
        ours = self._process == os.getpid() and self._identity == present
        if self._connection is not None and present is not None and ours:
            return self._connection
        self._close()
        refuse_network_disk(self.path)
        if present is None and not create:
            raise LedgerError(
                f"there is no ledger {self.path}",
                "If this home has ideas, `agent-runner reindex` rebuilds it from their records.",
            )
        self._process = os.getpid()
        self._connection = self._connect()
        try:
            self._prepare(self._connection, create=create)
        except LedgerError:
            self._close()
            raise
        self._identity = _identity(self.path)
        return self._connection

    def _connect(self) -> sa.Connection:
        def connect() -> sqlite3.Connection:
            # Transactions are ours (isolation_level), and so is the order of threads.
            return sqlite3.connect(
                self.path, timeout=WAIT_S, isolation_level=None, check_same_thread=False
            )

        engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.pool.StaticPool)
        sa.event.listen(engine, "begin", _begin_immediate)
        return engine.connect()

    def _prepare(self, connection: sa.Connection, *, create: bool) -> None:
        driver = _driver(connection)
        self._check_once(driver)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            driver.execute(f"PRAGMA {pragma}").fetchall()
        with connection.begin():
            if not create and not schema.exists(connection):
                raise LedgerError(f"{self.path} holds no ledger", _REBUILD)
            schema.migrate(connection)

    def _check_once(self, driver: sqlite3.Connection) -> None:
        """`PRAGMA quick_check`, at this process's first look at an existing file."""
        identity = _identity(self.path)
        if identity is None or identity in _checked or self.path.stat().st_size == 0:
            return
        (answer,) = driver.execute("PRAGMA quick_check(1)").fetchone()
        if answer != "ok":
            raise LedgerError(f"the ledger {self.path} is damaged: {answer}", _REBUILD)
        _checked.add(identity)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._process != os.getpid():
            _left_to_the_parent.append(connection)
            return
        with contextlib.suppress(sa.exc.SQLAlchemyError, sqlite3.Error):
            connection.close()
            connection.engine.dispose()

    # ------------------------------------------------------------ errors

    @contextmanager
    def _guarded(self, if_it_fails: str) -> Iterator[None]:
        """Turn an error of the database into a LedgerError, and close what it happened to."""
        try:
            yield
        except sa.exc.IntegrityError as error:  # a rule said no: file and connection are sound
            raise LedgerError(
                f"the ledger {self.path} refused a step that its rules forbid: {error.orig}; {if_it_fails}",
                "Run `agent-runner ledger check`, and report this.",
            ) from error
        except (sa.exc.DBAPIError, sqlite3.Error) as error:
            cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
            certain = self._empty_log() or not _error_name(cause).startswith("SQLITE_IOERR")
            self._close()
            raise self._explained(cause, if_it_fails, certain=certain) from error

    def _empty_log(self) -> bool:
        """Take what is committed out of the log, and empty it; whether that worked.

        A commit whose last fsync failed is not valid, but lies complete in the log: without this, a
        crash now and the recovery after it would bring it back.
        """
        if self._connection is None:
            return True
        driver = _driver(self._connection)
        try:
            if driver.in_transaction:
                driver.execute("ROLLBACK")
            (busy, _, _) = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error:
            return False
        return bool(busy == 0)

    def _explained(
        self, cause: BaseException | None, if_it_fails: str, *, certain: bool
    ) -> LedgerError:
        happened = f"the ledger {self.path} cannot be used: {cause}"
        if _error_name(cause) in _DAMAGED:
            return LedgerError(f"{happened}; {if_it_fails}", _REBUILD)
        doubt = "most likely {}; the disk does not let this be made sure of, so look again when it works"
        holds = if_it_fails if certain else doubt.format(if_it_fails)
        return LedgerError(
            f"{happened}; nothing was half written: {holds}",
            "Free disk space, check the disk and the permissions, then repeat.",
        )


def _driver(connection: sa.Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _error_name(error: BaseException | None) -> str:
    return str(getattr(error, "sqlite_errorname", ""))


def _begin_immediate(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
