"""Text only, strictly alternating: `deepseek-reasoner`, `gemma-template`, and the history as people
read it.

Calls stand as labelled text in the assistant's turn, results as labelled text in the user's.
"""

from __future__ import annotations

from typing import Any

from ..blocks import AssistantTurn, Media, Reasoning, Text, UserTurn
from ..errors import HistoryError
from ..wire import (
    PRINTABLE_ID,
    TOOL_NAME,
    Normal,
    RepairLog,
    WireCall,
    joined,
    labelled,
    named,
    wire_calls,
)


def write_flat(normal: Normal, dialect: str, log: RepairLog) -> list[dict[str, Any]]:
    """`role` and text `content` only; the system message, where there is one, first."""
    calls = wire_calls(normal, PRINTABLE_ID, TOOL_NAME, log)
    messages: list[dict[str, Any]] = []
    if normal.system is not None:
        messages.append({"role": "system", "content": normal.system})
    answered: tuple[WireCall, ...] = ()
    for turn, made, index in zip(normal.turns, calls, normal.origins, strict=True):
        if isinstance(turn, AssistantTurn):
            texts = _assistant_texts(turn, made, dialect, log, index)
        else:
            texts = _user_texts(turn, answered, dialect)
        messages.append({"role": turn.voice, "content": joined(texts)})
        answered = made
    return messages


def fold_system(normal: Normal, log: RepairLog) -> Normal:
    """The same without a system text of its own: it opens the first user turn, or is that turn."""
    if normal.system is None:
        return normal
    log.add("system_folded", 0, "the system text stands at the head of the first user turn")
    system = Text(text=normal.system)
    first = normal.turns[0]
    if isinstance(first, UserTurn):
        opened = first.model_copy(update={"blocks": (system, *first.blocks)})
        return Normal(None, (opened, *normal.turns[1:]), normal.origins)
    return Normal(None, (UserTurn(blocks=(system,)), *normal.turns), (0, *normal.origins))


def _assistant_texts(
    turn: AssistantTurn, calls: tuple[WireCall, ...], dialect: str, log: RepairLog, index: int
) -> list[str]:
    texts = [named(block) for block in turn.blocks if isinstance(block, Text)]
    if any(isinstance(block, Reasoning) for block in turn.blocks):
        log.add("reasoning_dropped", index, f"{dialect} takes no reasoning back")
    if calls:
        log.add("flattened", index, f"{len(calls)} tool call(s) and their results are sent as text")
    return texts + [labelled(f"tool call {call.name}, id {call.id}", call.said) for call in calls]


def _user_texts(turn: UserTurn, calls: tuple[WireCall, ...], dialect: str) -> list[str]:
    texts = [labelled(f"tool result {call.name}, id {call.id}", call.result) for call in calls]
    for block in turn.blocks:
        if isinstance(block, Media):
            what = f"{dialect} takes text only, no part of type {block.part['type']!r}"
            raise HistoryError("unsupported_content", what)
        texts.append(named(block))
    return texts
