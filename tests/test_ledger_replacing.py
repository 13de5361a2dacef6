"""A rebuilt ledger takes the place of another one, also while processes have that one open."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agent_runner.errors import LedgerError
from agent_runner.ledger import Ledger
from agent_runner.ledger.replacing import put_in_place


def fine() -> None:
    """Nothing has changed meanwhile."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite3"


@pytest.fixture
def old(path: Path) -> Ledger:
    """Open, with idea `old` in the log and not yet in the main file."""
    ledger = Ledger(path)
    ledger.ensure()
    ledger.add_idea("old", "The old one", 3)
    return ledger


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """Closed, with idea `new`; larger than the old file."""
    path = tmp_path / "new.sqlite3"
    ledger = Ledger(path)
    ledger.ensure()
    ledger.add_idea("new", "The new one", 3)
    for number in range(200):
        ledger.begin_attempt("new", f"{number:064}", None)
    ledger.close()
    return path


def integrity(path: Path) -> list[tuple[str]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall()


def test_who_has_the_old_file_open_goes_on_with_the_new_one(
    tmp_path: Path, path: Path, old: Ledger, new: Path
) -> None:
    kept = tmp_path / "kept.sqlite3"
    other = Ledger(path)
    assert other.ideas() == ["old"]
    put_in_place(new, path, kept, still_true=fine)
    assert old.ideas() == ["new"]
    old.add_idea("third", "Written after it", 1)
    assert other.ideas() == ["new", "third"]
    old.close()
    other.close()
    assert integrity(path) == [("ok",)]
    assert Ledger(path).ideas() == ["new", "third"]
    assert Ledger(kept).ideas() == ["old"], "what was only in the log is kept, too"
    assert not new.exists()


def test_a_process_that_holds_the_old_file_open_does_no_harm_when_it_ends(
    tmp_path: Path, path: Path, old: Ledger, new: Path
) -> None:
    told, tell = os.pipe()
    ready, say_ready = os.pipe()
    child = os.fork()
    if child == 0:
        mine = Ledger(path)
        mine.ideas()
        os.write(say_ready, b"x")
        os.read(told, 1)
        mine.close()  # still the old file: SQLite must not touch the log of the new one
        os._exit(0)
    os.read(ready, 1)
    put_in_place(new, path, tmp_path / "kept.sqlite3", still_true=fine)
    old.add_idea("third", "In the new file's log", 1)
    os.write(tell, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert Ledger(path).ideas() == ["new", "third"]
    old.close()
    assert integrity(path) == [("ok",)]


def test_a_damaged_file_is_replaced_and_kept_with_its_log(
    tmp_path: Path, path: Path, new: Path
) -> None:
    path.write_bytes(b"not a database" * 1000)
    path.with_name(f"{path.name}-wal").write_bytes(b"its log")
    kept = tmp_path / "kept.sqlite3"
    put_in_place(new, path, kept, still_true=fine)
    assert Ledger(path).ideas() == ["new"]
    assert kept.read_bytes() == b"not a database" * 1000
    assert kept.with_name(f"{kept.name}-wal").read_bytes() == b"its log"


def test_a_missing_file_is_made_good(tmp_path: Path, path: Path, new: Path) -> None:
    put_in_place(new, path, tmp_path / "kept.sqlite3", still_true=fine)
    assert Ledger(path).ideas() == ["new"]
    assert not (tmp_path / "kept.sqlite3").exists()


def test_nothing_is_moved_while_a_shell_reads(
    tmp_path: Path, path: Path, old: Ledger, new: Path
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as shell:
        shell.execute("BEGIN")
        shell.execute("SELECT * FROM ideas").fetchall()
        old.add_idea("later", "After the shell's view", 1)
        with pytest.raises(LedgerError, match="reading"):
            put_in_place(new, path, tmp_path / "kept.sqlite3", still_true=fine)
    assert old.ideas() == ["old", "later"]
    assert new.exists()


def test_nothing_is_moved_where_it_no_longer_fits(
    tmp_path: Path, path: Path, old: Ledger, new: Path
) -> None:
    def changed() -> None:
        raise LedgerError("changed meanwhile")

    with pytest.raises(LedgerError, match="changed meanwhile"):
        put_in_place(new, path, tmp_path / "kept.sqlite3", still_true=changed)
    assert old.ideas() == ["old"]
    assert new.exists()


def test_an_open_file_is_not_put_in_place(tmp_path: Path, path: Path, old: Ledger) -> None:
    with pytest.raises(LedgerError, match="still open"):
        put_in_place(path, tmp_path / "there.sqlite3", tmp_path / "kept", still_true=fine)
