"""The tables, what SQLite itself enforces about them, and the way from older files to this version.

`PRAGMA user_version` is the schema's version. Everything beyond the columns is a trigger or an index, so
that a file of any age gets the same rules without rebuilding its tables.
"""

from __future__ import annotations

import sqlalchemy as sa

from agent_runner.errors import LedgerError

VERSION = 1

metadata = sa.MetaData()

ideas = sa.Table(
    "ideas",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("title", sa.String, nullable=False),
    sa.Column("max_runs", sa.Integer, sa.CheckConstraint("max_runs >= 0"), nullable=False),
    sa.Column("max_uncharged", sa.Integer, nullable=False),
    sa.Column("created", sa.String, nullable=False),
)

attempts = sa.Table(
    "attempts",
    metadata,
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

runs = sa.Table(
    "runs",
    metadata,
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

_USED = "(SELECT coalesce(sum(cost), 0) FROM runs WHERE idea = {idea} AND state <> 'refunded')"

# name -> (when, condition, what is refused). The code above never does any of these; a rule here holds
# also against the next change of that code, and against a hand with a database shell.
_RULES = {
    "run_within_budget": (
        "BEFORE INSERT ON runs",
        "NEW.state <> 'refunded' AND NEW.cost + "
        + _USED.format(idea="NEW.idea")
        + " > (SELECT max_runs FROM ideas WHERE id = NEW.idea)",
        "more runs than the budget allows",
    ),
    "run_has_its_cost": (
        "BEFORE INSERT ON runs",
        "NEW.cost <> (NEW.number > 0) OR NEW.number < 0",
        "a run costs 1, the baseline (run 0) costs 0",
    ),
    "run_has_an_attempt": (
        "BEFORE INSERT ON runs",
        "(NEW.number = 0) <> (NEW.attempt IS NULL) OR (NEW.attempt IS NOT NULL AND NOT EXISTS "
        "(SELECT 1 FROM attempts WHERE idea = NEW.idea AND number = NEW.attempt))",
        "every run but the baseline belongs to an attempt of its idea",
    ),
    "run_settled_once": (
        "BEFORE UPDATE ON runs",
        "OLD.state <> 'reserved'",
        "a settled run is never changed",
    ),
    "run_keeps_its_code": (
        "BEFORE UPDATE OF idea, number, attempt, tree, commit_id, cost, created ON runs",
        "1",
        "what a run ran is never changed",
    ),
    "run_kept": ("BEFORE DELETE ON runs", "OLD.number > 0", "a run is never deleted"),
    "attempt_kept": ("BEFORE DELETE ON attempts", "1", "an attempt is never deleted"),
    "attempt_keeps_its_request": (
        "BEFORE UPDATE OF idea, number, key, reply_sha256, created ON attempts",
        "1",
        "what was asked for is never changed",
    ),
    "budget_covers_what_is_used": (
        "BEFORE UPDATE OF max_runs ON ideas",
        "NEW.max_runs < " + _USED.format(idea="NEW.id"),
        "the budget is smaller than what is used of it",
    ),
}

_ONE_OPEN_RUN = (
    "CREATE UNIQUE INDEX IF NOT EXISTS one_open_run_per_attempt ON runs (idea, attempt) "
    "WHERE state = 'reserved' AND attempt IS NOT NULL"
)


def exists(connection: sa.Connection) -> bool:
    """Whether the file holds a ledger at all."""
    return sa.inspect(connection).has_table("ideas")


def version(connection: sa.Connection) -> int:
    """The schema version of the file; 0 for a new file and for those made before versions were kept."""
    return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def migrate(connection: sa.Connection) -> None:
    """Bring the file to this version, in the caller's transaction. Nothing that it holds is changed.

    Raises:
        LedgerError: a newer version of this package made the file.
    """
    found = version(connection)
    if found == VERSION:
        return
    if found > VERSION:
        raise LedgerError(
            f"the ledger has schema version {found}; this version of agent-runner knows {VERSION}",
            "Use the newer agent-runner that made it; nothing was changed.",
        )
    metadata.create_all(connection)
    connection.exec_driver_sql(_ONE_OPEN_RUN)
    for name, (when, condition, refusal) in _RULES.items():
        connection.exec_driver_sql(
            f"CREATE TRIGGER IF NOT EXISTS {name} {when} WHEN {condition} "
            f"BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
        )
    connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")
