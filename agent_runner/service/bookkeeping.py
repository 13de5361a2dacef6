"""Is the ledger right? Its rows beside the records of every idea and beside git, read without changing any.

What is going on in other processes is no fault: an idea that is being worked on is read in an order in
which everything that should be there by then is there, and one that is not is locked for the reading.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_runner.errors import UsageError
from agent_runner.execution import job_files
from agent_runner.ledger import Ledger
from agent_runner.ledger.export import idea_of, verify
from agent_runner.paths import Home
from agent_runner.records import Record
from agent_runner.service.discrepancies import Discrepancy, compare, discrepancy
from agent_runner.service.idea_evidence import idle, list_records, read_evidence
from agent_runner.worktrees import Repository


class Audit(Record):
    """What `agent-runner ledger check` found, and what it moved away."""

    ideas: int
    findings: tuple[Discrepancy, ...] = ()
    quarantined: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Nothing is wrong; something interrupted may still wait to be taken up."""
        return all(finding.severity == "info" for finding in self.findings)


@dataclass(frozen=True)
class Books:
    """A home's ledger and what it is compared with."""

    home: Home
    repository: Repository
    ledger: Ledger

    @classmethod
    def of(cls, root: Path) -> Books:
        """The books of an existing home.

        Raises:
            UsageError: the folder is not a home.
        """
        home = Home(root.absolute())
        if not home.ideas.is_dir() and not home.ledger.exists():
            raise UsageError(
                f"{home.root} is not a home of agent-runner: it has neither ideas nor a ledger",
                "Name the home with --home, or create an idea first.",
            )
        repository = Repository(home.repository, home.worktrees, home.repository_lock)
        return cls(home, repository, Ledger(home.ledger))


def check(books: Books, *, quarantine: bool = False) -> Audit:
    """Compare the ledger with the records of every idea and with git.

    Args:
        quarantine: move records of runs that the ledger does not know to `quarantine/` in the home.
            They are not deleted, and counted nowhere. A run that goes on stays where it is.

    Raises:
        LedgerError, GitError: one of the two cannot be read at all.
    """
    folders = idea_folders(books.home)  # before the ledger: whatever has records by now has its row
    entered = books.ledger.ideas()
    findings: list[Discrepancy] = []
    moved: list[str] = []
    for idea in sorted({*folders, *entered}):
        with idle(books.home.idea(idea).lock) as free:
            found = (
                _check_idea(books, idea, busy=not free)
                if idea in entered
                else _unentered(books.home, idea)
            )
            if quarantine and free and idea in entered:
                found, names = _quarantine(books.home, found)
                moved += names
            findings += found
    return Audit(ideas=len(entered), findings=tuple(findings), quarantined=tuple(moved))


def check_export(books: Books, lines: Sequence[str], name: str) -> Audit:
    """Compare an exported file with the ledger.

    Raises:
        UsageError: the file is not an export, or of an idea that is not here.
    """
    idea = idea_of(lines)
    if idea is None:
        raise UsageError(
            f"{name} is not an export of a ledger",
            "Give a file that was written by `agent-runner ledger export`.",
        )
    problems = verify(lines, books.ledger.account(idea))
    findings = [discrepancy("export_contradicted", idea, name, problem) for problem in problems]
    return Audit(ideas=1, findings=tuple(findings))


def idea_folders(home: Home) -> list[str]:
    try:
        with os.scandir(home.ideas) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except FileNotFoundError:
        return []


def _check_idea(books: Books, idea: str, *, busy: bool) -> list[Discrepancy]:
    # This order matters while the idea is worked on. A folder is made after its row, so every folder
    # listed has one; a row is settled after its files are written, so every settled row has them.
    listing = list_records(books.home.idea(idea))
    account = books.ledger.account(idea)
    evidence = read_evidence(books.home, books.repository, idea, listing, account, busy=busy)
    return compare(account, evidence)


def _unentered(home: Home, idea: str) -> list[Discrepancy]:
    listing = list_records(home.idea(idea))
    if listing.attempts or listing.runs:
        message = f"{len(listing.attempts)} attempts and {len(listing.runs)} runs are recorded"
        return [discrepancy("idea_unknown", idea, "idea", message)]
    return [discrepancy("idea_unentered", idea, "idea", "its folder is there, and no row")]


def _quarantine(home: Home, found: list[Discrepancy]) -> tuple[list[Discrepancy], list[str]]:
    """Move away what lies in `runs/` without a row; returns what is left to tell, and where it went."""
    left, moved = [], []
    for finding in found:
        name = finding.subject.removeprefix("runs/")
        if finding.code == "run_unknown":
            name = finding.subject.removeprefix("run ")
        elif finding.code != "stray_entry" or name == finding.subject:
            left.append(finding)
            continue
        source = home.idea(finding.idea).folder / "runs" / name
        if source.is_dir() and job_files.is_locked(str(source / job_files.LOCK)):
            message = f"{finding.message}; its job goes on, so it was not moved away"
            left.append(finding.model_copy(update={"message": message}))
            continue
        target = home.quarantine / finding.idea / f"run_{name}.{time.time_ns()}"
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
        moved.append(str(target))
    return left, moved
