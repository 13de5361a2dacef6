"""From the text of a log to its turns."""

from __future__ import annotations

import re

from agent_runner.chatlogs.blocks import LINE_BREAK, TOOL, USER, Block, split_blocks
from agent_runner.chatlogs.records import ChatLog, ChatTurn, TurnDetail, TurnKind
from agent_runner.chatlogs.task import TITLE, is_task, parse_task
from agent_runner.errors import ChatLogError

_STARTED = re.compile(r"# aider chat started at (\S+ \S+)\s*")
_RUN_FAILED = re.compile(r"Run (failed|timed out)\b")
_RUN_COMPLETED = re.compile(r"Run \d+ completed\b")

_APPLIED = re.compile(r"Applied edit to (.+)")
_EDIT_ERROR = re.compile(r".*(did not conform to the edit format|blocks? failed to match).*")
_API_ERROR = re.compile(
    r"(litellm\.\w+|(API\w*|BadRequest|RateLimit|Authentication|InternalServer|ServiceUnavailable)Error)\b.*"
)
_USAGE = re.compile(
    r"Tokens: (?P<sent>\S+) sent, .*?(?P<received>\S+) received\."
    r"(?: Cost: \$(?P<cost>\d+(?:\.\d+)?) message)?.*"
)
_LONGEST_USAGE = 500
_DECLINED = re.compile(r"Run shell commands?\?.*: ?n(o)?", re.IGNORECASE)


def parse_chat_log(text: str) -> ChatLog:
    """Read an aider chat log of one idea.

    The file may hold several sessions, one after the other: the first task in it is the idea, and the
    turns of all are kept.

    Raises:
        ChatLogError: not an aider chat log, or one in which no idea is stated.
    """
    blocks = split_blocks(_lines(text))
    started = next((block.lines[0] for block in blocks if block.speaker == "session"), None)
    match = _STARTED.fullmatch(started) if started else None
    if match is None:
        raise ChatLogError(
            "this is not an aider chat log: no line says `# aider chat started at <date> <time>`",
            "Give the .aider.chat.history.md that aider wrote (or a copy of it, unchanged).",
        )
    turns = tuple(_turn(block) for block in blocks if block.speaker != "session")
    task = next((parse_task(turn.text) for turn in turns if turn.kind == "task"), None)
    if task is None or not task.title:
        raise ChatLogError(
            f"this aider chat log states no idea: no message says `{TITLE} ...`",
            "Logs of AI-Scientist-style experiment conversations can be imported. For another one, "
            "make the idea with `agent-runner idea new` and send each reply with `agent-runner propose`.",
        )
    return ChatLog(
        started=match[1],
        title=task.title,
        experiment=task.experiment,
        plan=task.plan,
        max_runs=task.max_runs,
        baseline=task.baseline,
        baseline_problem=task.baseline_problem,
        turns=turns,
    )


def _lines(text: str) -> list[str]:
    """Split at line feeds alone: a reply may hold every other separator that Python knows."""
    if 0 < text.count("\n") == text.count("\r\n"):  # a copy that was converted as a whole
        text = text.replace("\r\n", "\n")
    return text.removeprefix("\ufeff").split("\n")


def _turn(block: Block) -> ChatTurn:
    line = block.start + 1
    if block.speaker == "reply":
        return ChatTurn(kind="reply", text="\n".join(block.lines), line=line)
    prefix = USER if block.speaker == "user" else TOOL
    text = "\n".join(_unmarked(part, prefix) for part in block.lines)
    if block.speaker == "user":
        return ChatTurn(kind=_user_kind(text), text=text, line=line)
    return ChatTurn(kind="tool", text=text, line=line, detail=_detail(text.split("\n")))


def _unmarked(line: str, prefix: str) -> str:
    """A line without what aider put around it; the rest of a message of several lines has no prefix."""
    line = (
        line.removeprefix(prefix) if line.startswith(prefix) else line.removeprefix(prefix.strip())
    )
    return line.removesuffix(LINE_BREAK)


def _user_kind(text: str) -> TurnKind:
    if is_task(text):
        return "task"
    if _RUN_FAILED.match(text):
        return "run_failed"
    return "run_completed" if _RUN_COMPLETED.match(text) else "user"


def _detail(lines: list[str]) -> TurnDetail:
    """What the messages of one turn report. A declined command stands in the lines before the question."""
    applied: list[str] = []
    declined: list[str] = []
    offered: list[str] = []
    edit_error = api_error = usage = None
    for line in (line.rstrip() for line in lines):
        if match := _APPLIED.fullmatch(line):
            applied.append(match[1])
        elif _DECLINED.fullmatch(line):
            declined += offered
        elif len(line) < _LONGEST_USAGE and (match := _USAGE.fullmatch(line)):
            usage = match
        elif _EDIT_ERROR.fullmatch(line):
            edit_error = edit_error or line
        elif _API_ERROR.fullmatch(line):
            api_error = api_error or line
        elif line:
            offered.append(line)
            continue
        offered = []
    return TurnDetail(
        applied=tuple(dict.fromkeys(applied)),
        edit_error=edit_error,
        api_error=api_error,
        tokens_sent=_count(usage["sent"]) if usage else None,
        tokens_received=_count(usage["received"]) if usage else None,
        cost=float(usage["cost"]) if usage and usage["cost"] else None,
        declined=tuple(declined),
    )


def _count(text: str) -> int | None:
    """aider's rounded counts: `451`, `1.3k`, `15k`, `2.1M`."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)([kM]?)", text)
    if match is None:
        return None
    return round(float(match[1]) * {"": 1, "k": 1_000, "M": 1_000_000}[match[2]])
