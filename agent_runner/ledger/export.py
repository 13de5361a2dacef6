"""An idea's account as lines of JSON, each with the SHA-256 of the line before it.

Anybody can read it, and whoever kept a copy can tell whether anything in it was changed since: in the copy
(the chain breaks) or in the ledger (its rows no longer say the same). That lines were cut off the end
shows only beside the hash of the last line, which is why the command prints it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from agent_runner.ledger.rows import Account, AttemptRow, RunRow

FORMAT = "agent-runner ledger export"
FORMAT_VERSION = 1
START = "0" * 64  # what the first line names as the hash before it

_ORDER = ("idea", "attempt", "run", "run_settled", "attempt_settled")


def export(account: Account) -> list[str]:
    """What happened to an idea, oldest first, as hash-chained lines without their line ends."""
    lines: list[str] = []
    previous = START
    for number, event in enumerate(_events(account), 1):
        line = json.dumps(
            {"line": number, "previous": previous, **event},
            separators=(",", ":"),
            ensure_ascii=True,
        )
        previous = line_hash(line)
        lines.append(line)
    return lines


def line_hash(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()


def idea_of(lines: Sequence[str]) -> str | None:
    """The idea that an exported file is about; None where its first line is not one of ours."""
    first = _parsed(lines[0]) if lines else None
    if first is None or first.get("format") != FORMAT:
        return None
    idea = first.get("id")
    return idea if isinstance(idea, str) else None


def verify(lines: Sequence[str], account: Account) -> list[str]:
    """What is wrong with an exported file, and where the ledger now says something else. [] is sound.

    The ledger may have gone on since; then it holds more than the file. Times are not compared: after a
    `reindex` they are those of the records. A baseline may be measured again, and an uncharged ending be
    replaced by a later uncharged one (recovery after a crash); neither is a contradiction.
    """
    problems: list[str] = []
    present = {(event["event"], event.get("number")): event for event in _events(account)}
    previous = START
    for number, line in enumerate(lines, 1):
        event = _parsed(line)
        if event is None:
            problems.append(f"line {number} is not a line of an export")
        else:
            if event.pop("line", None) != number:
                problems.append(f"line {number} does not carry its own number: lines were moved")
            if event.pop("previous", None) != previous:
                problems.append(
                    f"line {number} does not continue line {number - 1}: the chain breaks"
                )
            problems += _contradiction(number, event, present)
        previous = line_hash(line)
    return problems


def _contradiction(
    number: int, event: dict[str, Any], present: dict[tuple[Any, Any], dict[str, Any]]
) -> list[str]:
    kind, subject = event.get("event"), event.get("number")
    if kind in ("run", "run_settled") and subject == 0:
        return []
    now = present.get((kind, subject))
    if now is None:
        return [f"line {number}: the ledger no longer holds this ({kind} {subject})"]
    differing = [key for key in event if key != "at" and event[key] != now.get(key)]
    if not differing or _replaced_after_a_crash(event, now, differing):
        return []
    return [
        f"line {number}: {kind} {subject or ''} had {key} {event[key]!r}, and the ledger now says "
        f"{now.get(key)!r}"
        for key in differing
    ]


def _replaced_after_a_crash(
    event: dict[str, Any], now: dict[str, Any], differing: Sequence[str]
) -> bool:
    return (
        event["event"] == "attempt_settled"
        and set(differing) <= {"stage", "reason"}
        and not event.get("charged")
        and str(now["at"]) > str(event.get("at"))
    )


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _events(account: Account) -> list[dict[str, Any]]:
    """In the order of time; within one millisecond in the order in which things follow each other."""
    idea = account.idea
    head = {
        "event": "idea",
        "at": idea.created,
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "id": idea.id,
        "title": idea.title,
        "max_runs": idea.max_runs,
        "max_uncharged": idea.max_uncharged,
    }
    later = [event for row in account.attempts for event in _attempt_events(row)]
    later += [event for row in account.runs for event in _run_events(row)]
    later.sort(key=lambda event: (event["at"], event["number"], _ORDER.index(event["event"])))
    return [head, *later]


def _attempt_events(row: AttemptRow) -> Iterator[dict[str, Any]]:
    yield {
        "event": "attempt",
        "at": row.created,
        "number": row.number,
        "key": row.key,
        "reply_sha256": row.reply_sha256,
    }
    if row.stage is not None:
        yield {
            "event": "attempt_settled",
            "at": row.settled or row.created,
            "number": row.number,
            "stage": row.stage,
            "charged": row.charged,
            "reason": row.reason,
            "tree": row.tree,
        }


def _run_events(row: RunRow) -> Iterator[dict[str, Any]]:
    yield {
        "event": "run",
        "at": row.created,
        "number": row.number,
        "attempt": row.attempt,
        "tree": row.tree,
        "commit": row.commit,
        "cost": row.cost,
    }
    if row.state != "reserved":
        yield {
            "event": "run_settled",
            "at": row.settled or row.created,
            "number": row.number,
            "state": row.state,
            "outcome": row.outcome,
            "reason": row.reason,
        }
