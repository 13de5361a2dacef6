"""Where the ledger, the files and git do not say the same of an idea. Pure: no file is read here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from agent_runner.ledger import Account, AttemptRow, RunRow
from agent_runner.records import Record
from agent_runner.service.idea_evidence import AttemptEvidence, IdeaEvidence, RunEvidence
from agent_runner.worktrees import GitFault, run_ref

_REBUILD = (
    "`agent-runner reindex` rebuilds the ledger from the records, and keeps the present file."
)
_RESTORE = (
    "Put the file back from a backup; the ledger and git still hold what was run and charged."
)
_OBJECTS = "Restore repo.git from a backup: the code of this run is not here."
_REPORT = f"Do not start runs of this idea before it is understood. {_REBUILD} Please report this."

# code -> why it matters, what to do about it
CATALOGUE: Mapping[str, tuple[str, str]] = {
    "over_budget": ("The idea was given more runs than its budget.", _REPORT),
    "numbers_not_contiguous": (
        "A number is never given twice or skipped: a row is missing from the ledger.",
        _REBUILD,
    ),
    "run_without_attempt": ("Every run but the baseline comes from a proposal.", _REBUILD),
    "charge_without_run": ("A proposal was charged, but no run was spent for it.", _REPORT),
    "charged_twice": ("One proposal may cost one run at most.", _REPORT),
    "spent_uncharged": ("A run was taken from the budget, but its proposal says it cost none.", _REPORT),
    "unfinished": (
        "A server was stopped in the middle of it; nothing is lost.",
        "The next `baseline` or `propose` of this idea takes it up and settles it.",
    ),
    "idea_unentered": (
        "It was being created when the server was stopped; nothing was run.",
        "Create it again; the folder may be deleted.",
    ),
    "idea_unknown": (
        "There are attempts or runs of an idea that the ledger does not know: nothing bounds them.",
        _REBUILD,
    ),
    "idea_record_missing": ("Without idea.json the idea cannot be used.", _RESTORE),
    "budget_differs": ("The ledger's budget is not the one that the idea was created with.", _REBUILD),
    "record_unreadable": ("What it recorded is not known any more.", _RESTORE),
    "stray_entry": (
        "Nothing of ours has this name, and it is counted nowhere.",
        "Look at it; `ledger check --quarantine` moves what lies in runs/ away.",
    ),
    "attempt_unknown": ("A proposal was recorded that the ledger does not count.", _REBUILD),
    "attempt_records_missing": ("What was proposed and answered is not known any more.", _RESTORE),
    "observation_differs": (
        "The agent was told something else than what was charged.",
        "See which of the two the run's result bears out; `agent-runner reindex` follows the records.",
    ),
    "run_unknown": (
        "A run left records, and the ledger does not count it: it may have been free of charge.",
        "If the ledger was replaced by an older one, `agent-runner reindex` counts the run again. "
        "Otherwise `ledger check --quarantine` moves the folder away; nothing is deleted.",
    ),
    "result_missing": ("What the run came to is not known any more.", _RESTORE),
    "result_differs": (
        "The run's record and the ledger contradict each other.",
        "See exit.json in the run's folder; `agent-runner reindex` follows the records.",
    ),
    "metrics_differ": (
        "The results kept beside the record are not those that were compared and reported.",
        "Trust result.json and the observation; restore final_info.json from a backup.",
    ),
    "results_not_kept": (
        "The bytes that the run's numbers were read from are not here any more.",
        "Restore blobs/ from a backup; result.json still holds the numbers.",
    ),
    "original_changed": (
        "The file in the worktree is no longer the one that was read when the run ended.",
        "Plots made from it are wrong. The copy in the run's records is the one that counts.",
    ),
    "commit_missing": ("The code that was run cannot be shown or run again.", _OBJECTS),
    "tree_differs": ("The commit does not hold the code that the ledger says was run.", _OBJECTS),
    "run_ref_missing": (
        "Nothing but this ref keeps the run's commit from being collected.",
        "git --git-dir=repo.git update-ref refs/runs/{idea}/{number} {commit}",
    ),
    "run_ref_differs": (
        "The ref shows other code than what was run.",
        "git --git-dir=repo.git update-ref refs/runs/{idea}/{number} {commit}",
    ),
    "run_ref_unknown": ("git knows a run that the ledger does not count.", _REBUILD),
    "dropped_by_reindex": (
        "The ledger before held it, and no record of it is left: what it cost is not counted any more.",
        "The ledger before is kept. Restore the records from a backup and repeat, or put that ledger back.",
    ),
    "export_contradicted": (
        "The exported file or the ledger was changed after the export.",
        "Compare with other copies of the export; `agent-runner reindex` shows what the records say.",
    ),
}  # fmt: skip


_GIT_FAULTS = {
    "missing_commit": "commit_missing",
    "missing_content": "commit_missing",
    "other_tree": "tree_differs",
    "missing_ref": "run_ref_missing",
    "other_ref": "run_ref_differs",
}


class Discrepancy(Record):
    """One thing that does not fit. `info` is no fault: something was interrupted and will be taken up."""

    severity: Literal["info", "fail"]
    code: str
    idea: str
    subject: str
    message: str
    why: str
    remedy: str


def discrepancy(code: str, idea: str, subject: str, message: str, **words: object) -> Discrepancy:
    """A finding with the catalogue's words about it."""
    why, remedy = CATALOGUE[code]
    return Discrepancy(
        severity="info" if code in ("unfinished", "idea_unentered") else "fail",
        code=code,
        idea=idea,
        subject=subject,
        message=message,
        why=why,
        remedy=remedy.format(idea=idea, **words) if words else remedy,
    )


def compare(account: Account, evidence: IdeaEvidence) -> list[Discrepancy]:
    """Everything about one idea that does not fit. [] is a sound idea."""
    return [*compare_rows(account, busy=evidence.busy), *compare_records(account, evidence)]


# ---------------------------------------------------------------- the ledger's rows among themselves


def compare_rows(account: Account, *, busy: bool = False) -> Iterator[Discrepancy]:
    """What the ledger alone shows. While the idea is worked on, open rows are nothing to tell."""
    idea = account.idea
    used = sum(run.cost for run in account.runs if run.state != "refunded")
    if used > idea.max_runs:
        yield discrepancy(
            "over_budget", idea.id, "budget", f"{used} runs are used of {idea.max_runs}"
        )
    yield from _contiguous(idea.id, "attempt", [row.number for row in account.attempts])
    yield from _contiguous(idea.id, "run", [row.number for row in account.runs if row.number > 0])
    for run in account.runs:
        yield from _run_row(account, run, busy=busy)
    for attempt in account.attempts:
        yield from _attempt_row(account, attempt, busy=busy)


def _contiguous(idea: str, what: str, numbers: list[int]) -> Iterator[Discrepancy]:
    missing = sorted(set(range(1, max(numbers, default=0) + 1)) - set(numbers))
    if missing:
        listing = ", ".join(map(str, missing[:10]))
        yield discrepancy(
            "numbers_not_contiguous", idea, f"{what}s", f"the ledger lacks {what} {listing}"
        )


def _run_row(account: Account, run: RunRow, *, busy: bool) -> Iterator[Discrepancy]:
    idea, subject = account.idea.id, f"run {run.number}"
    known = {row.number for row in account.attempts}
    if run.number > 0 and run.attempt not in known:
        yield discrepancy(
            "run_without_attempt", idea, subject, f"its attempt is {run.attempt}, which is not here"
        )
    if run.state == "reserved" and not busy:
        yield discrepancy("unfinished", idea, subject, "it is reserved, and nobody works on it")


def _attempt_row(account: Account, row: AttemptRow, *, busy: bool) -> Iterator[Discrepancy]:
    idea, subject = account.idea.id, f"attempt {row.number}"
    if row.stage is None:
        if not busy:
            yield discrepancy("unfinished", idea, subject, "it is open, and nobody works on it")
        return
    spent = [r.number for r in account.runs if r.attempt == row.number and r.state == "spent"]
    if row.charged and not spent:
        yield discrepancy("charge_without_run", idea, subject, "it is charged without a spent run")
    if len(spent) > 1:
        yield discrepancy("charged_twice", idea, subject, f"runs {spent} were all spent for it")
    if spent and not row.charged:
        yield discrepancy(
            "spent_uncharged", idea, subject, f"run {spent[0]} is spent, the attempt is not charged"
        )


# ---------------------------------------------------------------- the ledger beside files and git


def compare_records(account: Account, evidence: IdeaEvidence) -> Iterator[Discrepancy]:
    """What the files and git say beside the ledger."""
    idea = account.idea
    for path, reason in evidence.unreadable:
        yield discrepancy("record_unreadable", idea.id, path, reason)
    if evidence.idea is None:
        if not any(path.endswith("idea.json") for path, _ in evidence.unreadable):
            yield discrepancy("idea_record_missing", idea.id, "idea.json", "there is none")
    elif evidence.idea.max_runs != idea.max_runs:
        yield discrepancy(
            "budget_differs",
            idea.id,
            "budget",
            f"idea.json allows {evidence.idea.max_runs} runs, the ledger {idea.max_runs}",
        )
    for name in evidence.listing.strays:
        yield discrepancy("stray_entry", idea.id, name, "an entry that is no record")
    yield from _attempts(account, evidence)
    yield from _runs(account, evidence)


def _current(account: Account, evidence: IdeaEvidence) -> int | None:
    """The attempt that is being worked on: its files and its rows are written one after the other."""
    newest = max((row.number for row in account.attempts), default=None)
    return newest if evidence.busy else None


def _attempts(account: Account, evidence: IdeaEvidence) -> Iterator[Discrepancy]:
    idea = account.idea.id
    rows = {row.number: row for row in account.attempts}
    current = _current(account, evidence)
    for number in sorted(evidence.listing.attempts - set(rows)):
        yield discrepancy(
            "attempt_unknown", idea, f"attempt {number}", "it has a folder and no row"
        )
    for number, row in rows.items():
        if row.stage is None or number == current:
            continue
        found = evidence.attempts.get(number, AttemptEvidence())
        if found.observation is not None:
            yield from _observation(idea, row, found)
        elif number == max(rows):  # the last step of an attempt, which recovery repeats
            message = "it is settled, but its observation.json is not written"
            yield discrepancy("unfinished", idea, f"attempt {number}", message)
        else:
            message = "it has no observation.json (or no folder at all)"
            yield discrepancy("attempt_records_missing", idea, f"attempt {number}", message)


def _observation(idea: str, row: AttemptRow, found: AttemptEvidence) -> Iterator[Discrepancy]:
    observation, request = found.observation, found.request
    assert observation is not None
    pairs = [
        ("the attempt", row.number, observation.attempt),
        ("the idea", idea, observation.idea),
        ("the stage", row.stage, str(observation.stage)),
        ("charged", row.charged, observation.budget.charged),
    ]
    if request is not None:
        pairs.append(("the key", row.key, request.key))
    if found.reply_sha256 is not None:
        pairs.append(("the reply's sha256", row.reply_sha256, found.reply_sha256))
    for what, ours, theirs in pairs:
        if ours != theirs:
            message = f"{what}: {ours} in the ledger, {theirs} in its records"
            yield discrepancy("observation_differs", idea, f"attempt {row.number}", message)


def _runs(account: Account, evidence: IdeaEvidence) -> Iterator[Discrepancy]:
    idea = account.idea.id
    rows = {row.number: row for row in account.runs}
    current = _current(account, evidence)
    for number in sorted(evidence.listing.runs - set(rows)):
        if number == 0 and evidence.busy:
            continue  # the baseline's records come before its row
        yield discrepancy("run_unknown", idea, f"run {number}", "it has a folder and no row")
    for number in sorted(set(evidence.refs) - set(rows)):
        yield discrepancy("run_ref_unknown", idea, f"run {number}", "it has a ref and no row")
    for number, row in rows.items():
        under_way = evidence.busy and (number == 0 or row.attempt == current)
        if row.state == "reserved" or under_way:
            continue
        found = evidence.runs.get(number, RunEvidence())
        if found.result is not None:
            yield from _result(idea, row, found)
        elif not any(f"/runs/{number}/" in path for path, _ in evidence.unreadable):
            yield discrepancy(
                "result_missing", idea, f"run {number}", "it is settled without a result.json"
            )
        for fault in evidence.git_faults:
            if fault.ref == run_ref(idea, number):
                yield _git_fault(idea, row, fault)


def _result(idea: str, row: RunRow, found: RunEvidence) -> Iterator[Discrepancy]:
    result, subject = found.result, f"run {row.number}"
    assert result is not None
    for what, ours, theirs in (
        ("number", row.number, result.index),
        ("outcome", row.outcome, str(result.outcome)),
        ("commit", row.commit, result.commit),
        ("tree", row.tree, result.tree),
    ):
        if ours != theirs:
            message = f"{what}: {ours} in the ledger, {theirs} in result.json"
            yield discrepancy("result_differs", idea, subject, message)
    if result.metrics and found.metrics != result.metrics:
        words = "is missing" if found.metrics is None else "holds other numbers than result.json"
        yield discrepancy("metrics_differ", idea, subject, f"its final_info.json {words}")
    read_once = result.environment.get("results_sha256")
    if read_once and found.blob_sha256 != read_once:
        words = "is missing" if found.blob_sha256 is None else "holds other bytes"
        yield discrepancy("results_not_kept", idea, subject, f"blobs/{read_once} {words}")
    # The worktree's run_0 is a copy that we wrote ourselves.
    if row.number and read_once and found.original_sha256 not in (None, read_once):
        message = f"run_{row.number}/final_info.json in the worktree has another digest"
        yield discrepancy("original_changed", idea, subject, message)


def _git_fault(idea: str, row: RunRow, fault: GitFault) -> Discrepancy:
    code = _GIT_FAULTS[fault.kind]
    where = {"number": row.number, "commit": row.commit}
    words = where if code.startswith("run_ref") else {}
    return discrepancy(code, idea, f"run {row.number}", fault.message, **words)
