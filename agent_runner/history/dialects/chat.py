"""Chat-completion messages: `openai`, `deepseek-v4` and `mistral`."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..blocks import AssistantTurn, Reasoning, Text, UserTurn, is_blank
from ..errors import HistoryError
from ..wire import (
    BRIDGE,
    CONTINUE,
    NINE_ID,
    PRINTABLE_ID,
    SPEAKER_NAME,
    TOOL_NAME,
    Normal,
    RenderOptions,
    RepairLog,
    WireCall,
    joined,
    named,
    wire_calls,
)

Message = dict[str, Any]


@dataclass(frozen=True)
class ChatForm:
    """On what the chat dialects differ."""

    dialect: str
    id_rule: re.Pattern[str]
    media: frozenset[str] = frozenset()
    speaker_names: bool = True  # may a message carry `name`?
    reasoning: bool = False  # does `reasoning_content` go back?
    bridge: bool = False  # an assistant line between a tool and a user message?


OPENAI = ChatForm("openai", PRINTABLE_ID, frozenset({"image_url", "input_audio", "file"}))
DEEPSEEK_V4 = ChatForm("deepseek-v4", PRINTABLE_ID, reasoning=True)
MISTRAL = ChatForm("mistral", NINE_ID, frozenset({"image_url"}), speaker_names=False, bridge=True)


def write_chat(
    normal: Normal, form: ChatForm, options: RenderOptions, log: RepairLog
) -> list[Message]:
    """The messages of `normal`, system message first.

    Results stand right after their call, in call order.
    """
    calls = wire_calls(normal, form.id_rule, TOOL_NAME, log)
    filler = options.reasoning_filler if form.reasoning and any(calls) else None
    messages: list[Message] = []
    if normal.system is not None:
        messages.append({"role": "system", "content": normal.system})
    for turn, made, index in zip(normal.turns, calls, normal.origins, strict=True):
        if isinstance(turn, AssistantTurn):
            *earlier, last = _assistant_messages(turn, form, filler, log, index)
            messages += earlier
            messages += _call_messages(last, made, filler, options.single_calls)
            continue
        if form.bridge and turn.results and turn.blocks:
            log.add(
                "bridge_added", index, "an assistant line stands between tool results and user text"
            )
            messages.append({"role": "assistant", "content": BRIDGE})
        if turn.blocks:
            messages.append(_user_message(turn, form))
    return messages


def _user_message(turn: UserTurn, form: ChatForm) -> Message:
    texts = [block for block in turn.blocks if isinstance(block, Text)]
    name, contents = _speaker(texts, form)
    message: Message = {"role": "user", "content": joined(contents)}
    if len(texts) < len(turn.blocks):
        contents.reverse()
        parts: list[Message] = []
        for block in turn.blocks:
            if isinstance(block, Text):
                parts.append({"type": "text", "text": contents.pop()})
                continue
            if block.part["type"] not in form.media:
                what = f"{form.dialect} takes no part of type {block.part['type']!r}"
                raise HistoryError("unsupported_content", what)
            parts.append(copy.deepcopy(block.part))
        message["content"] = parts
    return message | ({"name": name} if name else {})


def _speaker(texts: list[Text], form: ChatForm) -> tuple[str | None, list[str]]:
    """The name for the message where one speaker said it all; else every named text under its own label."""
    names = {text.name for text in texts}
    name = names.pop() if len(names) == 1 else None
    if name and form.speaker_names and SPEAKER_NAME.fullmatch(name):
        return name, [text.text for text in texts]
    return None, [named(text) for text in texts]


def _assistant_messages(
    turn: AssistantTurn, form: ChatForm, filler: str | None, log: RepairLog, index: int
) -> list[Message]:
    """One message; where two reasonings would be mixed, several, with a user line between them."""
    messages: list[Message] = []
    for reasoning, texts in _segments(turn, form, log, index):
        if messages:
            log.add("reasoning_separated", index, "a user line keeps two recorded reasonings apart")
            messages.append({"role": "user", "content": CONTINUE})
        name, contents = _speaker(texts, form)
        message: Message = {"role": "assistant", "content": joined(contents) if contents else None}
        if name:
            message["name"] = name
        kept = filler if reasoning is None else reasoning
        if kept is not None:
            message["reasoning_content"] = kept
        messages.append(message)
    return messages


def _segments(
    turn: AssistantTurn, form: ChatForm, log: RepairLog, index: int
) -> list[tuple[str | None, list[Text]]]:
    """The texts of a turn, cut where a second reasoning begins."""
    segments: list[tuple[str | None, list[Text]]] = [(None, [])]
    for block in turn.blocks:
        if isinstance(block, Text):
            segments[-1][1].append(block)
        elif block.signed or not form.reasoning:
            log.add("reasoning_dropped", index, f"{form.dialect} takes no such reasoning back")
        else:
            segments = _with_reasoning(segments, block)
    return segments


def _with_reasoning(
    segments: list[tuple[str | None, list[Text]]], block: Reasoning
) -> list[tuple[str | None, list[Text]]]:
    recorded, texts = segments[-1]
    if recorded is None or is_blank(recorded):
        return [*segments[:-1], (block.text, texts)]
    return segments if is_blank(block.text) else [*segments, (block.text, [])]


def _call_messages(
    message: Message, calls: Iterable[WireCall], filler: str | None, single: bool
) -> list[Message]:
    """The last assistant message of a turn with its calls and their results.

    With `single`, one message per call, each followed by its result.
    """
    calls = list(calls)
    if not calls:
        return [message]
    groups = [[call] for call in calls] if single else [calls]
    out: list[Message] = []
    for group in groups:
        out.append(message | {"tool_calls": [_tool_call(call) for call in group]})
        out += [_tool_message(call) for call in group]
        message = {"role": "assistant", "content": None}
        if filler is not None:
            message["reasoning_content"] = filler
    return out


def _tool_call(call: WireCall) -> Message:
    function = {"name": call.name, "arguments": call.arguments_text}
    return {"id": call.id, "type": "function", "function": function}


def _tool_message(call: WireCall) -> Message:
    message = {"role": "tool", "tool_call_id": call.id, "content": call.result}
    return message | ({"name": call.result_name} if call.result_name else {})
