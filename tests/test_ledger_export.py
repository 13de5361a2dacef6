"""The exported account: readable, chained, and compared with the ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agent_runner.ledger import Account, Ledger
from agent_runner.ledger.export import START, export, idea_of, line_hash, verify


@pytest.fixture
def account(tmp_path: Path) -> Account:
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    ledger.ensure()
    ledger.add_idea("idea", "Eine Idee für später", 3)
    ledger.reserve_run("idea", attempt=None, tree="t0", commit="c0", baseline=True)
    ledger.settle_run("idea", 0, charged=False, outcome="succeeded", reason="free")
    ledger.begin_attempt("idea", "sha1", "key")
    ledger.reserve_run("idea", attempt=1, tree="t1", commit="c1")
    ledger.settle_run("idea", 1, charged=True, outcome="succeeded", reason="ran")
    ledger.settle_attempt("idea", 1, stage="done", charged=True, reason="ran", tree="t1")
    ledger.begin_attempt("idea", "sha2", None)
    ledger.settle_attempt("idea", 2, stage="apply", charged=False, reason="no", tree=None)
    return ledger.account("idea")


def test_every_line_is_json_and_carries_the_hash_of_the_one_before(account: Account) -> None:
    lines = export(account)
    assert all(line.isascii() and "\n" not in line for line in lines)
    parsed = [json.loads(line) for line in lines]
    assert [event["previous"] for event in parsed] == [START, *map(line_hash, lines[:-1])]
    assert parsed[0]["event"] == "idea"
    assert sorted((e["event"], e["number"]) for e in parsed[1:]) == [
        ("attempt", 1),
        ("attempt", 2),
        ("attempt_settled", 1),
        ("attempt_settled", 2),
        ("run", 0),
        ("run", 1),
        ("run_settled", 0),
        ("run_settled", 1),
    ]
    assert parsed[0]["title"] == "Eine Idee für später"
    assert idea_of(lines) == "idea"
    assert export(account) == lines
    assert verify(lines, account) == []


def test_a_ledger_that_has_gone_on_bears_out_an_earlier_export(account: Account) -> None:
    earlier = replace(account, attempts=account.attempts[:1])
    assert verify(export(earlier), account) == []


def test_a_change_of_any_line_is_found(account: Account) -> None:
    lines = export(account)
    for number in range(len(lines)):
        changed = list(lines)
        changed[number] = changed[number].replace('"at":"2', '"at":"1')
        assert changed != lines
        problems = verify(changed, account)
        # the last line has no successor: a change of its time shows beside its hash only
        assert bool(problems) == (number < len(lines) - 1), number
    assert verify([*lines[:2], *lines[3:]], account)
    assert verify([lines[0], lines[2], lines[1], *lines[3:]], account)
    assert verify(["no json", *lines[1:]], account)


@pytest.mark.parametrize(
    "change",
    [
        {"state": "refunded"},
        {"outcome": "failed"},
        {"tree": "other"},
        {"commit": "other"},
        {"attempt": 2},
    ],
)
def test_a_ledger_that_says_something_else_of_a_run_is_found(
    account: Account, change: dict[str, object]
) -> None:
    baseline, run = account.runs
    forged = replace(account, runs=(baseline, replace(run, **change)))  # type: ignore[arg-type]
    (problem,) = verify(export(account), forged)
    assert next(iter(change)) in problem
    gone = replace(account, runs=(baseline,))
    assert len(verify(export(account), gone)) == 2


def test_what_may_change_is_no_contradiction(account: Account) -> None:
    lines = export(account)
    first, second = account.attempts
    baseline, run = account.runs
    later = "2999-01-01T00:00:00.000+00:00"
    again = replace(second, stage="validate", reason="interrupted", settled=later)
    measured = replace(baseline, outcome="failed", created=later, settled=later)
    now = replace(account, attempts=(first, again), runs=(measured, run))
    assert verify(lines, now) == []
    charged = replace(second, stage="done", charged=True, settled=later)
    assert verify(lines, replace(account, attempts=(first, charged)))


def test_other_files_are_told_from_exports() -> None:
    assert idea_of([]) is None
    assert idea_of(["text"]) is None
    assert idea_of(['{"format": "something else", "id": "idea"}']) is None
