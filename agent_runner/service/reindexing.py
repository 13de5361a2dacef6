"""Making the ledger anew from the records: idea.json, attempt.json, observation.json, result.json, run refs.

What the records leave open (an attempt without an observation) becomes an open row, and a run of it a
reservation, so that recovery settles it like after a crash. Of an intact home comes an equal ledger; only
times are those of the files where the records have none.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from agent_runner.errors import LedgerError, UsageError
from agent_runner.ledger import (
    UNCHARGED_PER_RUN,
    Account,
    AttemptRow,
    IdeaRow,
    Ledger,
    RunRow,
)
from agent_runner.ledger.replacing import put_in_place
from agent_runner.paths import Home
from agent_runner.records import Idea, Record, RunResult, Stage
from agent_runner.service.bookkeeping import Books, idea_folders
from agent_runner.service.discrepancies import Discrepancy, compare, discrepancy
from agent_runner.service.idea_evidence import (
    AttemptEvidence,
    IdeaEvidence,
    idle,
    list_records,
    read_evidence,
)

_UNKNOWN_TIME = "1970-01-01T00:00:00.000+00:00"


class Reindexed(Record):
    """What `agent-runner reindex` made. `kept` is the old file, where there was one and it was replaced."""

    ledger: str
    kept: str | None = None
    ideas: int
    attempts: int
    runs: int
    findings: tuple[Discrepancy, ...] = ()


def reindex(books: Books, out: Path | None = None) -> Reindexed:
    """Build the ledger from the records, and put it in the place of the present one (or at `out`).

    Raises:
        UsageError: somebody works on an idea just now, or `out` exists.
        LedgerError: the records contradict the rules (more runs than a budget, say); nothing was replaced.
    """
    home = books.home
    if out is not None and out.exists():
        raise UsageError(f"{out} exists", "Name a file that does not exist yet.")
    with contextlib.ExitStack() as held:
        folders = idea_folders(home)
        for idea in folders:
            if not held.enter_context(idle(home.idea(idea).lock)):
                raise UsageError(
                    f"idea {idea!r} is being worked on; its records are not complete",
                    "Wait for the end of its run (or stop the server), then repeat.",
                )
        recorded = _recorded(home, folders)
        before = _present(books.ledger)
        accounts, findings = _rebuild_all(books, folders, before)
        new = out or home.ledger.with_name(f".{home.ledger.name}.{os.getpid()}.new")
        kept = None
        try:
            if out is None:
                new.unlink(missing_ok=True)  # of a process that was killed, and had our number
            _write(new, accounts)
            if out is None:
                kept = _install(books, new, recorded)
        finally:
            if out is None:
                new.unlink(missing_ok=True)
    return Reindexed(
        ledger=str(out or home.ledger),
        kept=str(kept) if kept else None,
        ideas=len(accounts),
        attempts=sum(len(account.attempts) for account in accounts),
        runs=sum(len(account.runs) for account in accounts),
        findings=tuple(findings),
    )


def _rebuild_all(
    books: Books, folders: list[str], before: Mapping[str, Account]
) -> tuple[list[Account], list[Discrepancy]]:
    accounts: list[Account] = []
    findings: list[Discrepancy] = []
    for name in folders:
        listing = list_records(books.home.idea(name))
        evidence = read_evidence(books.home, books.repository, name, listing)
        if evidence.idea is None:
            findings += _unreadable(evidence)
            continue
        account = rebuild(evidence, evidence.idea, before.get(name))
        accounts.append(account)
        findings += compare(account, evidence)
    rebuilt = {account.idea.id: account for account in accounts}
    for name, old in before.items():
        findings += _dropped(old, rebuilt.get(name, Account(old.idea)))
    return accounts, findings


def _unreadable(evidence: IdeaEvidence) -> list[Discrepancy]:
    """Records that cannot be read, of an idea that cannot be entered for want of its idea.json."""
    return [
        discrepancy(
            "record_unreadable", evidence.id, path, f"{reason}; its idea is not in the new ledger"
        )
        for path, reason in evidence.unreadable
    ]


def _recorded(home: Home, folders: list[str]) -> set[str]:
    """The ideas that have an idea.json, whether or not it can be read."""
    return {name for name in folders if home.idea(name).record.exists()}


def _dropped(old: Account, new: Account) -> list[Discrepancy]:
    """What the present ledger holds of an idea and the records do not tell of."""
    runs = {row.number for row in old.runs} - {row.number for row in new.runs}
    attempts = {row.number for row in old.attempts} - {row.number for row in new.attempts}
    subjects = [f"run {number}" for number in sorted(runs)]
    subjects += [f"attempt {number}" for number in sorted(attempts)]
    message = "it is in the ledger before, and not in the new one"
    return [
        discrepancy("dropped_by_reindex", old.idea.id, subject, message) for subject in subjects
    ]


def _write(new: Path, accounts: list[Account]) -> None:
    """A closed ledger file with these accounts, read back and compared."""
    ledger = Ledger(new)
    try:
        ledger.ensure()
        ledger.restore(accounts)
        for account in accounts:
            if ledger.account(account.idea.id) != account:
                raise LedgerError(
                    f"idea {account.idea.id!r} did not come back from the new ledger as it was written",
                    "Check the disk. The present ledger was left as it is.",
                )
    finally:
        ledger.close()
        new.with_name(f"{new.name}.lock").unlink(missing_ok=True)


def _install(books: Books, new: Path, examined: set[str]) -> Path | None:
    """Replace the ledger, unless an idea has come that is not among those examined."""
    home = books.home
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    kept = home.ledger.with_name(f"{home.ledger.name}.before-{stamp}")

    def still_true() -> None:
        if not _recorded(home, idea_folders(home)) <= examined:
            raise UsageError(
                "an idea was created meanwhile", "Repeat the command; nothing was replaced."
            )

    books.ledger.close()
    put_in_place(new, home.ledger, kept, still_true=still_true)
    return kept if kept.exists() else None


def _present(ledger: Ledger) -> dict[str, Account]:
    """The accounts of the present ledger, as far as it can be read."""
    found: dict[str, Account] = {}
    with contextlib.suppress(LedgerError):
        for idea in ledger.ideas():
            found[idea] = ledger.account(idea)
    return found


# ---------------------------------------------------------------- one idea, from evidence to rows


def rebuild(evidence: IdeaEvidence, idea: Idea, before: Account | None = None) -> Account:
    """The account that the records of an idea tell of. Pure.

    Args:
        before: the present account. It decides nothing: only times, and the keys of attempts without
            an attempt.json, are taken from it, and these only for rows that are the same otherwise.
    """
    before = before or Account(IdeaRow(idea.id, "", 0, 0, ""))
    row = IdeaRow(
        idea.id, idea.title, idea.max_runs, UNCHARGED_PER_RUN * idea.max_runs, idea.created
    )
    attempts = {n: _attempt(n, found, evidence) for n, found in evidence.attempts.items()}
    runs = _runs(evidence, idea)
    for run in runs:
        if run.attempt is not None and run.attempt not in attempts:
            # Its run was started, so there was an attempt, whatever became of its folder.
            attempts[run.attempt] = _attempt(run.attempt, AttemptEvidence(), evidence)
    requests = {number for number, found in evidence.attempts.items() if found.request}
    known_attempts = {old.number: old for old in before.attempts}
    known_runs = {old.number: old for old in before.runs}
    return Account(
        before.idea if before.idea == replace(row, created=before.idea.created) else row,
        tuple(
            _as_before(attempts[n], known_attempts.get(n), with_key=n not in requests)
            for n in sorted(attempts)
        ),
        tuple(_run_as_before(run, known_runs.get(run.number)) for run in runs),
    )


def _as_before(row: AttemptRow, old: AttemptRow | None, *, with_key: bool) -> AttemptRow:
    if old is None:
        return row
    known = replace(row, created=old.created, settled=old.settled)
    if with_key and old.reply_sha256 == row.reply_sha256:
        known = replace(known, key=old.key)
        row = replace(row, key=old.key)
    return known if known == old else row


def _run_as_before(row: RunRow, old: RunRow | None) -> RunRow:
    same = old is not None and old == replace(row, created=old.created, settled=old.settled)
    return old if old is not None and same else row


def _attempt(number: int, found: AttemptEvidence, evidence: IdeaEvidence) -> AttemptRow:
    request, observation = found.request, found.observation
    digest = request.reply_sha256 if request else found.reply_sha256 or ""
    _, tree = evidence.commits.get(number, (None, None))
    return AttemptRow(
        number=number,
        key=request.key if request else None,
        tree=tree if observation else None,
        stage=str(observation.stage) if observation else None,
        charged=observation.budget.charged if observation else None,
        reason=observation.budget.reason if observation else None,
        reply_sha256=digest,
        created=(request.created if request else found.begun) or _UNKNOWN_TIME,
        settled=found.ended if observation else None,
    )


def _runs(evidence: IdeaEvidence, idea: Idea) -> list[RunRow]:
    """One row for each run of which there is a record or a ref."""
    by_run = {
        found.observation.run.index: number
        for number, found in evidence.attempts.items()
        if found.observation is not None
        and found.observation.run is not None
        # An answer from the record names an earlier run, too, but ends before `execute`.
        and found.observation.stage in (Stage.EXECUTE, Stage.DONE)
    }
    by_commit = {commit: number for number, (commit, _) in evidence.commits.items()}
    rows = []
    for number in sorted(evidence.listing.runs | set(evidence.refs)):
        found = evidence.runs.get(number)
        result = found.result if found else None
        commit = result.commit if result else evidence.refs.get(number)
        if number == 0:
            if result is not None:
                rows.append(_baseline(evidence, idea, result))
            continue
        if commit is None:
            continue  # a folder of which nothing says what was run: `ledger check` reports it
        attempt = by_run.get(number, by_commit.get(commit))
        rows.append(_run(evidence, number, attempt, commit, result))
    return rows


def _run(
    evidence: IdeaEvidence,
    number: int,
    attempt: int | None,
    commit: str,
    result: RunResult | None,
) -> RunRow:
    told = evidence.attempts.get(attempt or 0, AttemptEvidence()).observation
    records = evidence.runs.get(number)
    settled = result is not None and told is not None
    charged = told is not None and told.budget.charged
    return RunRow(
        number=number,
        attempt=attempt,
        tree=result.tree if result else evidence.trees.get(commit, ""),
        commit=commit,
        state="reserved" if not settled else "spent" if charged else "refunded",
        outcome=str(result.outcome) if settled and result else None,
        reason=told.budget.reason if settled and told else None,
        cost=1,
        created=(records.begun if records else None) or _UNKNOWN_TIME,
        settled=records.ended if settled and records else None,
    )


def _baseline(evidence: IdeaEvidence, idea: Idea, result: RunResult) -> RunRow:
    records = evidence.runs[0]
    return RunRow(
        number=0,
        attempt=None,
        tree=idea.base_tree,
        commit=idea.base_commit,
        state="refunded",
        outcome=str(result.outcome),
        reason="the baseline costs nothing",
        cost=0,
        created=records.begun or records.ended or _UNKNOWN_TIME,
        settled=records.ended,
    )
