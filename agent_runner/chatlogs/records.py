"""What a recorded conversation says."""

from __future__ import annotations

from typing import Any, Literal

from agent_runner.records import Record

TurnKind = Literal["task", "reply", "run_failed", "run_completed", "user", "tool"]
RUN_ENDED = ("run_failed", "run_completed")


class TurnDetail(Record):
    """What aider's own lines of a turn report. Counts are as printed: aider rounds them."""

    applied: tuple[str, ...] = ()  # files that an edit was applied to
    edit_error: str | None = None  # an edit that was refused
    api_error: str | None = None  # the model's host refused the request
    tokens_sent: int | None = None
    tokens_received: int | None = None
    cost: float | None = None  # US dollars, of this message
    declined: tuple[str, ...] = ()  # shell commands that were offered and not run

    @property
    def edits_applied(self) -> bool:
        return bool(self.applied)


class ChatTurn(Record):
    """One turn. `text` of a user's turn is as it was sent, a reply's is the model's, byte for byte."""

    kind: TurnKind
    text: str
    line: int  # of the log, from 1, where the turn begins
    detail: TurnDetail = TurnDetail()  # only `tool` turns have one that is not empty


class RecordedReply(Record):
    """One reply, and everything that came of it before the next one."""

    text: str
    line: int
    applied: tuple[str, ...] = ()
    edit_error: str | None = None
    failures: tuple[str, ...] = ()  # what the model was shown of each failed run, in order
    completed: int = 0  # runs that succeeded
    api_errors: tuple[str, ...] = ()
    reruns: int = 0  # times the same code was started again because no new reply came

    @property
    def edits_applied(self) -> bool:
        return bool(self.applied)


class ChatLog(Record):
    """One recorded conversation about one idea."""

    started: str  # as the log has it: local time of an unknown zone
    title: str
    experiment: str  # the proposed experiment, as text
    plan: str  # the implementation plan, as text; may be empty
    max_runs: int | None = None
    baseline: dict[str, Any] | None = None
    baseline_problem: str | None = None  # why a baseline that is in the log could not be read
    turns: tuple[ChatTurn, ...]

    @property
    def replies(self) -> tuple[RecordedReply, ...]:
        """The replies in order, each with its recorded outcome."""
        starts = [i for i, turn in enumerate(self.turns) if turn.kind == "reply"]
        ends = [*starts[1:], len(self.turns)]
        return tuple(
            _outcome(self.turns[start], self.turns[start + 1 : end])
            for start, end in zip(starts, ends, strict=False)
        )


def _outcome(reply: ChatTurn, after: tuple[ChatTurn, ...]) -> RecordedReply:
    details = [turn.detail for turn in after]
    edit_errors = [detail.edit_error for detail in details if detail.edit_error]
    return RecordedReply(
        text=reply.text,
        line=reply.line,
        applied=tuple(dict.fromkeys(name for detail in details for name in detail.applied)),
        edit_error=edit_errors[0] if edit_errors else None,
        failures=tuple(turn.text for turn in after if turn.kind == "run_failed"),
        completed=sum(turn.kind == "run_completed" for turn in after),
        api_errors=tuple(detail.api_error for detail in details if detail.api_error),
        reruns=_reruns(after),
    )


def _reruns(after: tuple[ChatTurn, ...]) -> int:
    """Failures that nobody answered, because the host refused the request or the next run came first.

    The loop ran the code again after each. How the run after the last of them ended may not be in the log.
    """
    unanswered = 0
    for i, turn in enumerate(after):
        if turn.kind == "run_failed":
            later = after[i + 1 :]
            unanswered += any(t.kind in RUN_ENDED or t.detail.api_error for t in later)
    return unanswered
