"""A ledger that is lost comes back from the records; one that is not comes back as it was."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from agent_runner.errors import LedgerError, UsageError
from agent_runner.ledger import Account, Ledger
from agent_runner.paths import AttemptPaths, file_lock
from agent_runner.records import Idea, Outcome
from agent_runner.service import Runner, reindexing
from agent_runner.service.attempt_records import read_attempt_record, record_attempt
from agent_runner.service.bookkeeping import Books, check
from agent_runner.service.reindexing import reindex
from agent_runner.surfaces.cli.main import app

RATE = "        self.rate = 0.1"
OTHER = "        self.rate = 0.2"
Edit = Callable[[str, str], str]


@pytest.fixture
def used(runner: Runner, idea: Idea, edit: Edit) -> Idea:
    """The idea after a run that succeeded, a refused reply, a run that failed, and code already run."""
    runner.propose(idea.id, edit(RATE, OTHER), idempotency_key="first")
    runner.propose(idea.id, "no edits")
    runner.propose(idea.id, edit(OTHER, "        self.rat = 0.3"))
    runner.propose(idea.id, edit("        self.rat = 0.3", OTHER), idempotency_key="again")
    return idea


def account(home: Path, idea: Idea) -> Account:
    ledger = Ledger(home / "ledger.sqlite3")
    try:
        return ledger.account(idea.id)
    finally:
        ledger.close()


def timeless(account: Account) -> Account:
    return Account(
        replace(account.idea, created=""),
        tuple(replace(row, created="", settled=None) for row in account.attempts),
        tuple(replace(row, created="", settled=None) for row in account.runs),
    )


def keep_requests(home: Path, idea: Idea) -> None:
    """Write attempt.json for every attempt, as the runner does at its start."""
    for row in account(home, idea).attempts:
        record_attempt(AttemptPaths(home / "ideas" / idea.id / "attempts" / str(row.number)), row)


def test_an_intact_home_gives_an_equal_ledger(home: Path, used: Idea) -> None:
    before = account(home, used)
    for _ in range(2):
        made = reindex(Books.of(home))
        assert (made.ideas, made.attempts, made.runs, made.findings) == (1, 4, 3, ())
        assert account(home, used) == before
    assert check(Books.of(home)).findings == ()
    kept = sorted(home.glob("ledger.sqlite3.before-*"))
    assert len(kept) == 2
    assert Ledger(kept[0]).account(used.id) == before


def test_a_lost_ledger_comes_back_with_its_keys(
    home: Path, runner: Runner, used: Idea, edit: Edit
) -> None:
    keep_requests(home, used)
    before = account(home, used)
    first = runner.propose(used.id, edit(RATE, OTHER), idempotency_key="first")
    for name in home.glob("ledger.sqlite3*"):
        name.unlink()
    made = reindex(Books.of(home))
    assert made.kept is None
    assert timeless(account(home, used)) == timeless(before)
    assert check(Books.of(home)).findings == ()
    later = Runner(home)
    assert later.propose(used.id, edit(RATE, OTHER), idempotency_key="first") == first
    assert later.show(used.id).budget.used == 2


def test_a_damaged_ledger_is_replaced_and_kept(home: Path, runner: Runner, used: Idea) -> None:
    keep_requests(home, used)
    before = account(home, used)
    runner._workspace.ledger.close()  # the last one: nothing is left in the log
    (home / "ledger.sqlite3").write_bytes(b"no database" * 1000)
    with pytest.raises(LedgerError):
        Runner(home)
    made = reindex(Books.of(home))
    assert made.kept is not None
    assert Path(made.kept).read_bytes() == b"no database" * 1000
    assert timeless(account(home, used)) == timeless(before)


def test_a_running_server_goes_on_with_the_new_file(
    home: Path, runner: Runner, used: Idea, edit: Edit
) -> None:
    assert runner.show(used.id).budget.used == 2
    reindex(Books.of(home))
    assert runner.show(used.id).budget.used == 2
    third = runner.propose(used.id, edit(OTHER, "        self.rate = 0.4"))
    assert third.run is not None and (third.run.index, third.budget.left) == (3, 0)
    assert check(Books.of(home)).findings == ()


def test_a_run_without_an_answer_is_rebuilt_as_open_and_settled_by_recovery(
    home: Path, used: Idea
) -> None:
    records = home / "ideas" / used.id
    (records / "attempts" / "3" / "observation.json").unlink()
    (records / "attempts" / "4" / "observation.json").unlink()
    (home / "ledger.sqlite3").unlink()
    reindex(Books.of(home))
    rebuilt = account(home, used)
    assert [row.stage is None for row in rebuilt.attempts] == [False, False, True, True]
    assert [(row.attempt, row.state) for row in rebuilt.runs] == [
        (None, "refunded"),
        (1, "spent"),
        (3, "reserved"),
    ]
    later = Runner(home)
    later.propose(used.id, "go on")
    view = later.show(used.id)
    assert (view.budget.used, view.runs[-1].outcome) == (2, Outcome.FAILED)
    assert check(Books.of(home)).findings == ()


def test_a_run_of_which_only_the_ref_is_left_still_counts(home: Path, used: Idea) -> None:
    records = home / "ideas" / used.id
    (records / "attempts" / "3" / "observation.json").unlink()
    (records / "runs" / "2" / "result.json").unlink()
    (home / "ledger.sqlite3").unlink()
    reindex(Books.of(home))
    run = account(home, used).runs[-1]
    assert (run.number, run.attempt, run.state) == (2, 3, "reserved")


def test_what_no_record_tells_of_is_not_dropped_in_silence(home: Path, used: Idea) -> None:
    shutil.rmtree(home / "ideas" / used.id / "runs" / "2")
    shutil.rmtree(home / "ideas" / used.id / "attempts" / "3")
    (home / "repo.git" / "refs" / "runs" / used.id / "2").unlink()
    result = CliRunner().invoke(app, ["--home", str(home), "reindex", "--json"])
    findings = {(f["code"], f["subject"]) for f in json.loads(result.stdout)["findings"]}
    assert {("dropped_by_reindex", "run 2"), ("dropped_by_reindex", "attempt 3")} <= findings
    assert result.exit_code == 1


def test_one_damaged_idea_does_not_keep_the_others_from_being_rebuilt(
    home: Path, runner: Runner, used: Idea, template: Path
) -> None:
    damaged = runner.create_idea("Damaged", template=template, max_runs=1)
    record = home / "ideas" / damaged.id / "idea.json"
    whole = record.read_bytes()
    record.write_text("{")
    before = account(home, used)
    made = reindex(Books.of(home))
    assert made.ideas == 1 and made.kept is not None
    assert account(home, used) == before
    (finding,) = (finding for finding in made.findings if finding.idea == damaged.id)
    assert (finding.code, finding.subject) == ("record_unreadable", str(record))
    record.write_bytes(whole)
    again = reindex(Books.of(home))
    assert (again.ideas, again.findings) == (2, ())
    assert account(home, damaged).idea.max_runs == 1


def test_an_idea_that_is_created_meanwhile_replaces_nothing(
    home: Path, used: Idea, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = home / "ideas" / "half"
    half.mkdir()
    write = reindexing._write

    def write_and_create(new: Path, accounts: list[Account]) -> None:
        write(new, accounts)
        (half / "idea.json").write_text("{}")

    monkeypatch.setattr(reindexing, "_write", write_and_create)
    with pytest.raises(UsageError, match="created meanwhile"):
        reindex(Books.of(home))
    assert list(home.glob("*before*")) == []


def test_another_file_is_only_written(home: Path, used: Idea, tmp_path: Path) -> None:
    before = account(home, used)
    out = tmp_path / "rebuilt.sqlite3"
    made = reindex(Books.of(home), out)
    assert (made.ledger, made.kept) == (str(out), None)
    assert Ledger(out).account(used.id) == before
    assert list(home.glob("*before*")) == []
    with pytest.raises(UsageError, match="exists"):
        reindex(Books.of(home), out)


def test_an_idea_that_is_worked_on_is_not_reindexed(home: Path, used: Idea) -> None:
    with (
        file_lock(home / "ideas" / used.id / "lock"),
        pytest.raises(UsageError, match="being worked on"),
    ):
        reindex(Books.of(home))
    assert list(home.glob("*before*")) == []


def test_records_that_break_the_rules_replace_nothing(home: Path, used: Idea) -> None:
    """More runs than the budget: the forged record is refused by the new ledger's own rules."""
    record = home / "ideas" / used.id / "idea.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "max_runs": 1}))
    before = account(home, used)
    with pytest.raises(LedgerError, match="more runs than the budget"):
        reindex(Books.of(home))
    assert account(home, used) == before
    assert [name for name in os.listdir(home) if "new" in name or "before" in name] == []


@settings(max_examples=20, deadline=None)
@given(key=st.none() | st.text(max_size=20), digest=st.text("0123456789abcdef", min_size=64))
def test_a_request_is_read_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, key: str | None, digest: str
) -> None:
    folder = tmp_path_factory.mktemp("request")
    ledger = Ledger(folder / "ledger.sqlite3")
    ledger.ensure()
    ledger.add_idea("idea", "An idea", 1)
    row = ledger.begin_attempt("idea", digest, key)
    paths = AttemptPaths(folder / "1")
    assert read_attempt_record(paths) is None
    record_attempt(paths, row)
    stored = read_attempt_record(paths)
    assert stored is not None
    assert (stored.attempt, stored.key, stored.reply_sha256, stored.created) == (
        row.number,
        key,
        digest,
        row.created,
    )
