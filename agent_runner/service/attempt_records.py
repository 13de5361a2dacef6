"""`attempts/<n>/attempt.json`: what was asked for. So the ledger can be rebuilt with its idempotency keys."""

from __future__ import annotations

from agent_runner.ledger import AttemptRow
from agent_runner.paths import AttemptPaths, read_json, write_json
from agent_runner.records import SCHEMA_VERSION, Record


class AttemptRecord(Record):
    """The request of one attempt, as it was taken up."""

    schema_version: int = SCHEMA_VERSION
    attempt: int
    key: str | None
    reply_sha256: str
    created: str


def record_attempt(paths: AttemptPaths, attempt: AttemptRow) -> None:
    """Write the request down, right after the ledger opened the attempt. Repeatable.

    Between the two a crash leaves an open attempt without this file and without a run; recovery then
    closes it at no cost, so no key that stands for a run is ever without its record.
    """
    record = AttemptRecord(
        attempt=attempt.number,
        key=attempt.key,
        reply_sha256=attempt.reply_sha256,
        created=attempt.created,
    )
    write_json(paths.request, record)


def read_attempt_record(paths: AttemptPaths) -> AttemptRecord | None:
    """The request of an attempt; None for attempts made before it was written down.

    Raises:
        ValueError: the file is not one of ours.
    """
    stored = read_json(paths.request)
    return AttemptRecord.model_validate(stored) if stored is not None else None
