"""Downloads that failed, remembered for a while: the next proposal is told why and does not pay again."""

from __future__ import annotations

from agent_runner.models.answer import Answer
from agent_runner.models.assets import Kind
from agent_runner.models.machine import Machine
from agent_runner.models.memo import Memo, holds, key
from agent_runner.records import Access

# What else an access can be after its download was tried.
_STATUSES = {
    "gated",
    "forbidden",
    "not_found",
    "unreachable",
    "damaged",
    "no_disk",
    "not_cached",
}


def failure_key(machine: Machine, kind: Kind, name: str) -> str:
    """Apart from what the hub answers when it is asked: that it can be had is no news after a failure."""
    return key(machine, f"download of {kind}", name)


def failure(kind: Kind, name: str, machine: Machine, memo: Memo) -> Answer | None:
    """How the last download of a model or data set failed, while it is too early for the next one."""
    return memo.get(failure_key(machine, kind, name))


def remember(failed: Access, machine: Machine, memo: Memo, *, retry_after: float = 0.0) -> Access:
    """Remember a failed download, for longer each time in a row; returns it with when it is tried again.

    retry_after: seconds that the hub asked to wait. What the hub answered before is forgotten, since it is
    contradicted; only the size of the model is kept of it.
    """
    asked = key(machine, failed.kind, failed.name)
    place = failure_key(machine, failed.kind, failed.name)
    before = memo.past(place)
    known = memo.past(asked) or before or Answer(status="accessible")
    answer = Answer.model_validate(
        {
            "status": failed.status if failed.status in _STATUSES else "not_cached",
            "reason": failed.reason,
            "gated": known.gated,
            "size": known.size,
            "parameters": known.parameters,
            "retry_after": retry_after,
            "failures": before.failures + 1 if before is not None else 1,
        }
    )
    wait = f"the runner does not fetch it again for {_minutes(holds(answer))}"
    remedy = f"{failed.remedy}; {wait}" if failed.remedy else wait
    memo.put({place: answer.model_copy(update={"remedy": remedy})}, forget=(asked,))
    return failed.model_copy(update={"remedy": remedy})


def forget(kind: Kind, name: str, machine: Machine, memo: Memo) -> None:
    """A download has succeeded: the next failure is the first in a row."""
    place = failure_key(machine, kind, name)
    if memo.past(place) is not None:
        memo.put({}, forget=(place,))


def _minutes(seconds: float) -> str:
    count = max(1, round(seconds / 60))
    return "a minute" if count == 1 else f"{count} minutes"
