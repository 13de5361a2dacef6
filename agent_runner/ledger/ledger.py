"""`Ledger`: the steps by which ideas, attempts and runs come to be and are settled."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from agent_runner.errors import IdempotencyConflict, LedgerError, UnknownIdea
from agent_runner.ledger.connection import LedgerFile
from agent_runner.ledger.rows import (
    UNCHARGED_PER_RUN,
    Account,
    AttemptRow,
    BudgetState,
    IdeaRow,
    RunRow,
)
from agent_runner.ledger.schema import attempts as _attempts
from agent_runner.ledger.schema import ideas as _ideas
from agent_runner.ledger.schema import runs as _runs

_READING = "nothing was to be written"


class Ledger:
    """The ledger of one home. One object may serve many threads, one file many processes.

    Every method is one transaction. Where it raises LedgerError, nothing of it has happened, and the
    object can be used again as soon as the fault is over.
    """

    def __init__(self, path: Path) -> None:
        self._file = LedgerFile(path)

    @property
    def path(self) -> Path:
        return self._file.path

    def ensure(self) -> None:
        """Create the file where it is missing, and bring one of an older version to this one."""
        self._file.create()

    def close(self) -> None:
        """Close the file until the next call."""
        self._file.close()

    # ------------------------------------------------------------ ideas

    def add_idea(self, idea: str, title: str, max_runs: int) -> None:
        """Open an idea's account. Repeatable: the same idea with the same budget is left as it is."""
        with self._file.transaction("the idea was not entered") as connection:
            row = connection.execute(sa.select(_ideas).where(_ideas.c.id == idea)).one_or_none()
            if row is None:
                _insert_idea(
                    connection,
                    IdeaRow(idea, title, max_runs, UNCHARGED_PER_RUN * max_runs, _now()),
                )
            elif (row.title, row.max_runs) != (title, max_runs):
                raise LedgerError(
                    f"idea {idea!r} is in the ledger already, with another title or budget",
                    "Choose another id; nothing was changed.",
                )

    def ideas(self) -> list[str]:
        """Ids of all ideas, oldest first."""
        with self._file.transaction(_READING) as connection:
            return list(
                connection.scalars(sa.select(_ideas.c.id).order_by(_ideas.c.created, _ideas.c.id))
            )

    def budget(self, idea: str) -> BudgetState:
        with self._file.transaction(_READING) as connection:
            return _budget(connection, idea)

    def account(self, idea: str) -> Account:
        """Everything about one idea, as it was at one moment. Raises UnknownIdea."""
        with self._file.transaction(_READING) as connection:
            row = connection.execute(sa.select(_ideas).where(_ideas.c.id == idea)).one_or_none()
            if row is None:
                raise _unknown(idea)
            return Account(
                IdeaRow(row.id, row.title, row.max_runs, row.max_uncharged, row.created),
                tuple(_select_attempts(connection, idea)),
                tuple(_select_runs(connection, idea)),
            )

    def restore(self, accounts: Sequence[Account]) -> None:
        """Enter whole accounts, settled rows and all; for a ledger that is made anew from the records."""
        with self._file.transaction("nothing was restored") as connection:
            for account in accounts:
                _insert_idea(connection, account.idea)
                for attempt in account.attempts:
                    connection.execute(
                        _attempts.insert().values(idea=account.idea.id, **vars(attempt))
                    )
                for run in account.runs:
                    values = {**vars(run), "commit_id": run.commit}
                    del values["commit"]
                    connection.execute(_runs.insert().values(idea=account.idea.id, **values))

    # ------------------------------------------------------------ attempts

    def begin_attempt(self, idea: str, reply_sha256: str, key: str | None) -> AttemptRow:
        """Open an attempt, or return the one that this idempotency key already stands for.

        Raises:
            IdempotencyConflict: the key was used for another reply.
        """
        with self._file.transaction("no attempt was opened, and nothing is charged") as connection:
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
            attempt = AttemptRow((last or 0) + 1, key, None, None, None, None, reply_sha256, _now())
            connection.execute(_attempts.insert().values(idea=idea, **vars(attempt)))
            return attempt

    def settle_attempt(
        self, idea: str, number: int, *, stage: str, charged: bool, reason: str, tree: str | None
    ) -> None:
        """Enter where an attempt ended and whether it was charged. Repeatable."""
        with self._file.transaction(
            f"attempt {number} stays open until this is repeated"
        ) as connection:
            changed = connection.execute(
                _attempts.update()
                .where(_attempts.c.idea == idea, _attempts.c.number == number)
                .values(stage=stage, charged=charged, reason=reason, tree=tree, settled=_now())
            )
            if changed.rowcount != 1:
                raise LedgerError(
                    f"idea {idea!r} has no attempt {number} in the ledger",
                    "Run `agent-runner ledger check`.",
                )

    def attempts(self, idea: str) -> list[AttemptRow]:
        with self._file.transaction(_READING) as connection:
            return _select_attempts(connection, idea)

    # ------------------------------------------------------------ runs

    def reserve_run(
        self, idea: str, *, attempt: int | None, tree: str, commit: str, baseline: bool = False
    ) -> int | None:
        """Reserve one run; returns its number, or None where the budget is used up.

        Check and reservation are one transaction. The baseline is run 0 and costs nothing.
        """
        with self._file.transaction("no run was reserved, and nothing is charged") as connection:
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
        with self._file.transaction(
            f"run {number} stays reserved, and counts, until this is repeated"
        ) as connection:
            which = (_runs.c.idea == idea, _runs.c.number == number)
            changed = connection.execute(
                _runs.update()
                .where(*which, _runs.c.state == "reserved")
                .values(
                    state="spent" if charged else "refunded",
                    outcome=outcome,
                    reason=reason,
                    settled=_now(),
                )
            )
            if changed.rowcount == 0 and not connection.scalar(
                sa.select(sa.func.count()).where(*which)
            ):
                raise LedgerError(
                    f"idea {idea!r} has no run {number} in the ledger",
                    "Run `agent-runner ledger check`.",
                )

    def runs(self, idea: str) -> list[RunRow]:
        with self._file.transaction(_READING) as connection:
            return _select_runs(connection, idea)


def _insert_idea(connection: sa.Connection, row: IdeaRow) -> None:
    connection.execute(_ideas.insert().values(**vars(row)))


def _select_attempts(connection: sa.Connection, idea: str) -> list[AttemptRow]:
    query = sa.select(_attempts).where(_attempts.c.idea == idea).order_by(_attempts.c.number)
    return [_attempt_row(row) for row in connection.execute(query)]


def _select_runs(connection: sa.Connection, idea: str) -> list[RunRow]:
    query = sa.select(_runs).where(_runs.c.idea == idea).order_by(_runs.c.number)
    return [_run_row(row) for row in connection.execute(query)]


def _budget(connection: sa.Connection, idea: str) -> BudgetState:
    row = connection.execute(sa.select(_ideas).where(_ideas.c.id == idea)).one_or_none()
    if row is None:
        raise _unknown(idea)
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


def _unknown(idea: str) -> UnknownIdea:
    return UnknownIdea(f"there is no idea {idea!r} here", "See `agent-runner list`.")


def _attempt_row(row: Any) -> AttemptRow:
    return AttemptRow(
        number=row.number,
        key=row.key,
        tree=row.tree,
        stage=row.stage,
        charged=row.charged,
        reason=row.reason,
        reply_sha256=row.reply_sha256,
        created=row.created,
        settled=row.settled,
    )


def _run_row(row: Any) -> RunRow:
    return RunRow(
        number=row.number,
        attempt=row.attempt,
        tree=row.tree,
        commit=row.commit_id,
        state=row.state,
        outcome=row.outcome,
        reason=row.reason,
        cost=row.cost,
        created=row.created,
        settled=row.settled,
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
