"""The ledger: what may happen next. Ideas, attempts, runs and the budget, in one SQLite file.

Files and git record what happened; this file alone decides what is allowed. A run is *reserved* in the
same transaction that checks the budget, before anything is started, and *settled* afterwards: spent, or
refunded with the reason. `BEGIN IMMEDIATE` serialises writers across processes; WAL with
`synchronous=FULL` means that what was acknowledged survives a power cut.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from agent_runner.errors import IdempotencyConflict, LedgerError, UnknownIdea

# Uncharged attempts allowed per run of budget, so that nothing loops for ever at no cost.
UNCHARGED_PER_RUN = 3

_metadata = sa.MetaData()

_ideas = sa.Table(
    "ideas",
    _metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("title", sa.String, nullable=False),
    sa.Column("max_runs", sa.Integer, sa.CheckConstraint("max_runs >= 0"), nullable=False),
    sa.Column("max_uncharged", sa.Integer, nullable=False),
    sa.Column("created", sa.String, nullable=False),
)

_attempts = sa.Table(
    "attempts",
    _metadata,
    sa.Column("idea", sa.ForeignKey("ideas.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("key", sa.String),
    sa.Column("reply_sha256", sa.String, nullable=False),
    sa.Column("tree", sa.String),
    sa.Column("stage", sa.String),  # NULL while open
    sa.Column("charged", sa.Boolean),
    sa.Column("reason", sa.String),
    sa.Column("created", sa.String, nullable=False),
    sa.Column("settled", sa.String),
    sa.UniqueConstraint("idea", "key"),
)

_runs = sa.Table(
    "runs",
    _metadata,
    sa.Column("idea", sa.ForeignKey("ideas.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),  # the i of run_i; 0 is the baseline
    sa.Column("attempt", sa.Integer),
    sa.Column("tree", sa.String, nullable=False),
    sa.Column("commit_id", sa.String, nullable=False),
    sa.Column("cost", sa.Integer, nullable=False),  # 1, or 0 for the baseline
    sa.Column(
        "state",
        sa.String,
        sa.CheckConstraint("state IN ('reserved', 'spent', 'refunded')"),
        nullable=False,
    ),
    sa.Column("outcome", sa.String),
    sa.Column("reason", sa.String),
    sa.Column("created", sa.String, nullable=False),
    sa.Column("settled", sa.String),
)


@dataclass(frozen=True)
class BudgetState:
    """`used` counts reserved and spent runs; `attempts_left` bounds proposals that cost nothing."""

    max_runs: int
    used: int
    attempts_left: int

    @property
    def left(self) -> int:
        return self.max_runs - self.used


@dataclass(frozen=True)
class AttemptRow:
    """One attempt as the ledger knows it. `stage` is None while it is open."""

    number: int
    key: str | None
    tree: str | None
    stage: str | None
    charged: bool | None
    reason: str | None


@dataclass(frozen=True)
class RunRow:
    """One run as the ledger knows it."""

    number: int
    attempt: int | None
    tree: str
    commit: str
    state: str
    outcome: str | None
    reason: str | None


class Ledger:
    """One connection per call: a command line process is short, and SQLite arbitrates between them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.pool.NullPool)
        sa.event.listen(self._engine, "connect", _configure)
        sa.event.listen(self._engine, "begin", _begin_immediate)

    def ensure(self) -> None:
        """Create the tables where they are missing."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._transaction() as connection:
            _metadata.create_all(connection)

    # ------------------------------------------------------------ ideas

    def add_idea(self, idea: str, title: str, max_runs: int) -> None:
        with self._transaction() as connection:
            connection.execute(
                _ideas.insert().values(
                    id=idea,
                    title=title,
                    max_runs=max_runs,
                    max_uncharged=UNCHARGED_PER_RUN * max_runs,
                    created=_now(),
                )
            )

    def ideas(self) -> list[str]:
        """Ids of all ideas, oldest first."""
        with self._transaction() as connection:
            return list(
                connection.scalars(sa.select(_ideas.c.id).order_by(_ideas.c.created, _ideas.c.id))
            )

    def budget(self, idea: str) -> BudgetState:
        with self._transaction() as connection:
            return _budget(connection, idea)

    # ------------------------------------------------------------ attempts

    def begin_attempt(self, idea: str, reply_sha256: str, key: str | None) -> AttemptRow:
        """Open an attempt, or return the one that this idempotency key already stands for.

        Raises:
            IdempotencyConflict: the key was used for another reply.
        """
        with self._transaction() as connection:
            _budget(connection, idea)  # raises UnknownIdea
            if key is not None:
                row = connection.execute(
                    sa.select(_attempts).where(_attempts.c.idea == idea, _attempts.c.key == key)
                ).one_or_none()
                if row is not None:
                    if row.reply_sha256 != reply_sha256:
                        raise IdempotencyConflict(
                            f"idempotency key {key!r} was already used for another reply "
                            f"(attempt {row.number})",
                            "Use a new key for a new reply; the same key only repeats a request.",
                        )
                    return _attempt_row(row)
            last = connection.scalar(
                sa.select(sa.func.max(_attempts.c.number)).where(_attempts.c.idea == idea)
            )
            number = (last or 0) + 1
            connection.execute(
                _attempts.insert().values(
                    idea=idea, number=number, key=key, reply_sha256=reply_sha256, created=_now()
                )
            )
            return AttemptRow(number, key, None, None, None, None)

    def settle_attempt(
        self, idea: str, number: int, *, stage: str, charged: bool, reason: str, tree: str | None
    ) -> None:
        with self._transaction() as connection:
            connection.execute(
                _attempts.update()
                .where(_attempts.c.idea == idea, _attempts.c.number == number)
                .values(stage=stage, charged=charged, reason=reason, tree=tree, settled=_now())
            )

    def attempts(self, idea: str) -> list[AttemptRow]:
        with self._transaction() as connection:
            query = (
                sa.select(_attempts).where(_attempts.c.idea == idea).order_by(_attempts.c.number)
            )
            return [_attempt_row(row) for row in connection.execute(query)]

    # ------------------------------------------------------------ runs

    def reserve_run(
        self, idea: str, *, attempt: int | None, tree: str, commit: str, baseline: bool = False
    ) -> int | None:
        """Reserve one run; returns its number, or None where the budget is used up.

        Check and reservation are one transaction. The baseline is run 0 and costs nothing.
        """
        with self._transaction() as connection:
            if not baseline and _budget(connection, idea).left <= 0:
                return None
            last = connection.scalar(
                sa.select(sa.func.max(_runs.c.number)).where(_runs.c.idea == idea)
            )
            number = 0 if baseline else (last or 0) + 1
            if baseline:
                connection.execute(_runs.delete().where(_runs.c.idea == idea, _runs.c.number == 0))
            connection.execute(
                _runs.insert().values(
                    idea=idea,
                    number=number,
                    attempt=attempt,
                    tree=tree,
                    commit_id=commit,
                    cost=0 if baseline else 1,
                    state="reserved",
                    created=_now(),
                )
            )
            return number

    def settle_run(
        self, idea: str, number: int, *, charged: bool, outcome: str, reason: str
    ) -> None:
        """Turn a reservation into a charge or a refund. A settled run is never settled again."""
        with self._transaction() as connection:
            connection.execute(
                _runs.update()
                .where(_runs.c.idea == idea, _runs.c.number == number, _runs.c.state == "reserved")
                .values(
                    state="spent" if charged else "refunded",
                    outcome=outcome,
                    reason=reason,
                    settled=_now(),
                )
            )

    def runs(self, idea: str) -> list[RunRow]:
        with self._transaction() as connection:
            query = sa.select(_runs).where(_runs.c.idea == idea).order_by(_runs.c.number)
            return [_run_row(row) for row in connection.execute(query)]

    # ------------------------------------------------------------ the one transaction

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            raise LedgerError(
                f"the ledger {self._path} cannot be used: {error.orig}",
                "Free disk space or check permissions, then repeat; nothing was half written.",
            ) from error


def _configure(connection: Any, _record: Any) -> None:
    # SQLAlchemy's own BEGIN must not race ours: the driver is left in autocommit mode.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=60000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _budget(connection: sa.Connection, idea: str) -> BudgetState:
    row = connection.execute(sa.select(_ideas).where(_ideas.c.id == idea)).one_or_none()
    if row is None:
        raise UnknownIdea(f"there is no idea {idea!r} here", "See `agent-runner list`.")
    used = connection.scalar(
        sa.select(sa.func.coalesce(sa.func.sum(_runs.c.cost), 0)).where(
            _runs.c.idea == idea, _runs.c.state != "refunded"
        )
    )
    uncharged = connection.scalar(
        sa.select(sa.func.count()).where(_attempts.c.idea == idea, _attempts.c.charged.is_(False))
    )
    return BudgetState(
        row.max_runs, int(used or 0), max(0, row.max_uncharged - int(uncharged or 0))
    )


def _attempt_row(row: Any) -> AttemptRow:
    return AttemptRow(row.number, row.key, row.tree, row.stage, row.charged, row.reason)


def _run_row(row: Any) -> RunRow:
    return RunRow(
        row.number, row.attempt, row.tree, row.commit_id, row.state, row.outcome, row.reason
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
