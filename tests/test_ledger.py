"""The ledger's steps, one process, no faults."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from agent_runner.errors import IdempotencyConflict, LedgerError, UnknownIdea
from agent_runner.ledger import UNCHARGED_PER_RUN, Ledger, local_disk


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    ledger.ensure()
    ledger.add_idea("idea", "An idea", max_runs=3)
    return ledger


def reserve(ledger: Ledger, tree: str = "t") -> int | None:
    attempt = ledger.begin_attempt("idea", "sha", None)
    return ledger.reserve_run("idea", attempt=attempt.number, tree=tree, commit="c")


def test_reservations_count_at_once_and_stop_at_the_budget(ledger: Ledger) -> None:
    assert [reserve(ledger) for _ in range(5)] == [1, 2, 3, None, None]
    assert ledger.budget("idea").left == 0


def test_a_refund_gives_the_run_back_and_never_reuses_its_number(ledger: Ledger) -> None:
    assert reserve(ledger) == 1
    ledger.settle_run("idea", 1, charged=False, outcome="lost", reason="the worker was lost")
    assert ledger.budget("idea").used == 0
    assert reserve(ledger) == 2
    assert [(row.number, row.state) for row in ledger.runs("idea")] == [
        (1, "refunded"),
        (2, "reserved"),
    ]


def test_a_settled_run_is_not_settled_again(ledger: Ledger) -> None:
    reserve(ledger)
    ledger.settle_run("idea", 1, charged=True, outcome="succeeded", reason="ran")
    ledger.settle_run("idea", 1, charged=False, outcome="lost", reason="late news")
    assert [(row.state, row.outcome) for row in ledger.runs("idea")] == [("spent", "succeeded")]


def test_what_does_not_exist_cannot_be_settled(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="no run 1"):
        ledger.settle_run("idea", 1, charged=True, outcome="succeeded", reason="ran")
    with pytest.raises(LedgerError, match="no attempt 1"):
        ledger.settle_attempt("idea", 1, stage="done", charged=True, reason="ran", tree=None)


def test_the_baseline_is_run_0_and_free_also_without_budget(ledger: Ledger) -> None:
    while reserve(ledger):
        pass
    for _ in range(2):  # a failed baseline is measured again
        number = ledger.reserve_run("idea", attempt=None, tree="t", commit="c", baseline=True)
        assert number == 0
        ledger.settle_run("idea", 0, charged=False, outcome="failed", reason="free")
    assert ledger.budget("idea").used == 3


def test_uncharged_attempts_are_bounded(ledger: Ledger) -> None:
    for _ in range(2):
        attempt = ledger.begin_attempt("idea", "sha", None)
        ledger.settle_attempt(
            "idea", attempt.number, stage="apply", charged=False, reason="refused", tree=None
        )
    assert ledger.budget("idea").attempts_left == 3 * UNCHARGED_PER_RUN - 2


def test_an_idempotency_key_stands_for_one_reply(ledger: Ledger) -> None:
    first = ledger.begin_attempt("idea", "sha-a", "key")
    assert ledger.begin_attempt("idea", "sha-a", "key") == first
    with pytest.raises(IdempotencyConflict, match="already used"):
        ledger.begin_attempt("idea", "sha-b", "key")
    assert len(ledger.attempts("idea")) == 1


def test_the_same_key_may_serve_another_idea(ledger: Ledger) -> None:
    ledger.add_idea("other", "Another", max_runs=1)
    ledger.begin_attempt("idea", "sha-a", "key")
    assert ledger.begin_attempt("other", "sha-b", "key").number == 1


def test_entering_an_idea_again_changes_nothing(ledger: Ledger) -> None:
    reserve(ledger)
    ledger.add_idea("idea", "An idea", max_runs=3)
    assert ledger.budget("idea").used == 1
    with pytest.raises(LedgerError, match="another title or budget"):
        ledger.add_idea("idea", "An idea", max_runs=30)


def test_an_account_is_everything_of_one_idea(ledger: Ledger) -> None:
    reserve(ledger)
    account = ledger.account("idea")
    assert (account.idea.max_runs, account.idea.max_uncharged) == (3, 9)
    assert list(account.attempts) == ledger.attempts("idea")
    assert list(account.runs) == ledger.runs("idea")
    with pytest.raises(UnknownIdea):
        ledger.account("nobody")


def test_unknown_ideas_and_broken_files_are_said_plainly(tmp_path: Path, ledger: Ledger) -> None:
    with pytest.raises(UnknownIdea):
        ledger.budget("nobody")
    with pytest.raises(UnknownIdea):
        ledger.begin_attempt("nobody", "sha", None)
    broken = tmp_path / "broken.sqlite3"
    broken.write_bytes(b"this is not a database" * 100)
    with pytest.raises(LedgerError, match=r"broken\.sqlite3") as caught:
        Ledger(broken).ensure()
    assert "reindex" in caught.value.remedy


def test_a_damaged_page_is_found_when_the_file_is_first_opened(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    first = Ledger(path)
    first.ensure()
    first.add_idea("idea", "An idea", max_runs=3)
    for number in range(40):
        first.begin_attempt("idea", f"{number:064}", None)
    first.close()
    page = 4096
    with path.open("r+b") as file:
        file.seek(page)
        file.write(os.urandom(page))
    copy = tmp_path / "copy.sqlite3"  # another file: this process has looked at the first one
    copy.write_bytes(path.read_bytes())
    with pytest.raises(LedgerError, match=r"copy\.sqlite3") as caught:
        Ledger(copy).budget("idea")
    assert "reindex" in caught.value.remedy


def test_a_missing_file_is_not_made_anew_by_a_question(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    with pytest.raises(LedgerError, match="no ledger") as caught:
        ledger.ideas()
    assert "reindex" in caught.value.remedy
    assert not (tmp_path / "ledger.sqlite3").exists()


def test_a_ledger_that_is_deleted_under_a_server_does_not_come_back_empty(
    tmp_path: Path, ledger: Ledger
) -> None:
    (tmp_path / "ledger.sqlite3").unlink()
    with pytest.raises(LedgerError, match="no ledger"):
        ledger.budget("idea")


def test_the_lock_file_may_be_deleted(tmp_path: Path, ledger: Ledger) -> None:
    (tmp_path / "ledger.sqlite3.lock").unlink()
    assert reserve(ledger) == 1
    assert (tmp_path / "ledger.sqlite3.lock").exists()


def test_a_database_shell_that_is_just_reading_does_no_harm(tmp_path: Path, ledger: Ledger) -> None:
    shell = sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)
    shell.execute("BEGIN")
    shell.execute("SELECT * FROM ideas").fetchall()
    assert reserve(ledger) == 1
    shell.execute("COMMIT")
    assert shell.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    shell.close()


# ---------------------------------------------------------------- where the file may be


def test_the_file_systems_type_is_really_asked() -> None:
    assert local_disk.file_system_type(Path("/proc")) == 0x9FA0


@pytest.mark.parametrize("magic", sorted(local_disk.NETWORK_FILE_SYSTEMS))
def test_network_file_systems_are_refused(
    magic: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_disk, "file_system_type", lambda _folder: magic)
    with pytest.raises(LedgerError, match=local_disk.NETWORK_FILE_SYSTEMS[magic]) as caught:
        Ledger(tmp_path / "ledger.sqlite3").ensure()
    assert "--home" in caught.value.remedy
    assert not (tmp_path / "ledger.sqlite3").exists()
