"""Files of older versions keep everything, and every file gets the same rules."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent_runner.errors import LedgerError
from agent_runner.ledger import Ledger, schema

UNVERSIONED = Path(__file__).parent / "fixtures" / "ledger" / "unversioned.sql"
TABLES = ("ideas", "attempts", "runs")


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as connection:
        return {
            table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
            for table in TABLES
        }


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    """A ledger as the code before versions made it."""
    path = tmp_path / "ledger.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(UNVERSIONED.read_text())
    return path


@pytest.mark.parametrize("opened_by", ["ensure", "a question"])
def test_an_unversioned_file_opens_and_keeps_everything(old_file: Path, opened_by: str) -> None:
    before = rows(old_file)
    assert [len(before[table]) for table in TABLES] == [2, 4, 4]
    ledger = Ledger(old_file)
    if opened_by == "ensure":
        ledger.ensure()
    assert ledger.ideas() == ["dead-features", "other"]
    assert rows(old_file) == before
    state = ledger.budget("dead-features")
    assert (state.max_runs, state.used, state.attempts_left) == (3, 2, 7)
    assert ledger.begin_attempt("dead-features", "a" * 64, "first").charged is True
    # what was open goes on where it was
    ledger.settle_run("dead-features", 3, charged=True, outcome="failed", reason="ran")
    attempt = ledger.begin_attempt("dead-features", "e" * 64, None)
    arguments = {"attempt": attempt.number, "tree": "t", "commit": "c"}
    assert ledger.reserve_run("dead-features", **arguments) == 4  # type: ignore[arg-type]
    last = ledger.begin_attempt("dead-features", "f" * 64, None)
    assert ledger.reserve_run("dead-features", attempt=last.number, tree="t", commit="c") is None


def test_old_and_new_files_have_the_same_rules(old_file: Path, tmp_path: Path) -> None:
    new_file = tmp_path / "new.sqlite3"
    found = []
    for path in (old_file, new_file):
        Ledger(path).ensure()
        Ledger(path).ensure()  # repeatable
        with closing(sqlite3.connect(path)) as connection:
            names = connection.execute(
                "SELECT type, name, sql FROM sqlite_master WHERE type IN ('trigger', 'index') ORDER BY 2"
            ).fetchall()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        found.append((names, version))
    assert found[0] == found[1]
    assert found[0][1] == schema.VERSION


def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    Ledger(path).ensure()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    with pytest.raises(LedgerError, match="this version of agent-runner knows"):
        Ledger(path).ensure()


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(LedgerError, match="holds no ledger"):
        Ledger(path).ideas()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


# ---------------------------------------------------------------- rules that SQLite itself holds

RUN = "INSERT INTO runs VALUES ('idea', {}, {}, 't', 'c', {}, '{}', NULL, NULL, 'now', NULL)"
FORBIDDEN = {
    "a run beyond the budget": RUN.format(3, 2, 1, "reserved"),
    "a spent run beyond the budget": RUN.format(3, 2, 1, "spent"),
    "a second open run of an attempt": RUN.format(3, 1, 1, "reserved"),
    "a run of no attempt": RUN.format(3, "NULL", 1, "refunded"),
    "a run of an attempt that is not there": RUN.format(3, 9, 1, "refunded"),
    "a baseline of an attempt": RUN.format(0, 1, 0, "reserved"),
    "a baseline that costs": RUN.format(0, "NULL", 1, "reserved"),
    "a run that is free": RUN.format(3, 2, 0, "reserved"),
    "a run in no known state": RUN.format(3, 2, 1, "gone"),
    "a refund after the charge": "UPDATE runs SET state = 'refunded' WHERE number = 2",
    "a charge taken back to a reservation": "UPDATE runs SET state = 'reserved' WHERE number = 2",
    "another outcome of a settled run": "UPDATE runs SET outcome = 'x' WHERE number = 2",
    "other code of a run": "UPDATE runs SET tree = 'x' WHERE number = 1",
    "another number of a run": "UPDATE runs SET number = 9 WHERE number = 1",
    "a run that is deleted": "DELETE FROM runs WHERE number = 1",
    "an attempt that is deleted": "DELETE FROM attempts WHERE number = 2",
    "another key of an attempt": "UPDATE attempts SET key = 'x' WHERE number = 2",
    "a key that is used twice": (
        "INSERT INTO attempts VALUES ('idea', 3, 'key', 's', NULL, NULL, NULL, NULL, 'now', NULL)"
    ),
    "a budget below what is used": "UPDATE ideas SET max_runs = 1",
}


@pytest.fixture
def by_hand(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A budget of 2: run 1 (of attempt 1) is reserved, run 2 spent; attempt 2 is open without a run."""
    path = tmp_path / "ledger.sqlite3"
    ledger = Ledger(path)
    ledger.ensure()
    ledger.add_idea("idea", "An idea", max_runs=2)
    ledger.begin_attempt("idea", "s", "key")
    ledger.begin_attempt("idea", "s", None)
    ledger.reserve_run("idea", attempt=1, tree="t", commit="c")
    ledger.reserve_run("idea", attempt=2, tree="t", commit="c")
    ledger.settle_run("idea", 2, charged=True, outcome="succeeded", reason="ran")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_database_itself_refuses(what: str, by_hand: sqlite3.Connection) -> None:
    before = list(by_hand.iterdump())
    with pytest.raises(sqlite3.IntegrityError):
        by_hand.execute(FORBIDDEN[what])
    assert list(by_hand.iterdump()) == before


def test_what_is_allowed_passes_the_same_rules(by_hand: sqlite3.Connection) -> None:
    by_hand.execute("UPDATE ideas SET max_runs = 3")
    by_hand.execute(RUN.format(3, 2, 1, "reserved"))
    by_hand.execute("UPDATE runs SET state = 'refunded' WHERE number = 3")
    by_hand.execute(RUN.format(0, "NULL", 0, "reserved"))
    states = by_hand.execute("SELECT number, state FROM runs ORDER BY 1").fetchall()
    assert states == [(0, "reserved"), (1, "reserved"), (2, "spent"), (3, "refunded")]


def test_a_refused_step_is_said_plainly_and_the_ledger_goes_on(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    ledger.ensure()
    ledger.add_idea("idea", "An idea", max_runs=2)
    with pytest.raises(LedgerError, match=r"belongs to an attempt.*nothing is charged"):
        ledger.reserve_run("idea", attempt=7, tree="t", commit="c")
    assert ledger.runs("idea") == []
