"""`check`: what a strict host of a dialect would refuse in a payload, found before it is sent.

Written on its own, from the providers' rules: it shares no code with the rendering, so that one can
catch the other's mistakes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .errors import HistoryError
from .legality_blocks import check_anthropic, check_bedrock, check_gemini

_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class ChatRules:
    """What a chat dialect demands beyond known roles, visible text and paired calls."""

    tools: bool = True
    system: bool = True
    system_anywhere: bool = False
    alternate: bool = False
    user_first: bool = True
    user_last: bool = True
    user_after_tool: bool = True
    parts: bool = True  # may `content` be a list?
    reasoning: str = "forbidden"  # or "free" or "with_calls"
    ids: re.Pattern[str] = re.compile(r".{1,40}", re.DOTALL)


RULES = {
    "openai": ChatRules(system_anywhere=True, user_first=False, user_last=False),
    "deepseek-v4": ChatRules(parts=False, reasoning="with_calls"),
    "deepseek-reasoner": ChatRules(tools=False, alternate=True, parts=False),
    "mistral": ChatRules(user_after_tool=False, ids=re.compile(r"[A-Za-z0-9]{9}")),
    "gemma-template": ChatRules(tools=False, system=False, alternate=True, parts=False),
}
_BLOCKS = {"anthropic": check_anthropic, "bedrock": check_bedrock, "gemini": check_gemini}


def check(payload: dict[str, Any], dialect: str) -> list[str]:
    """Every reason why a host of `dialect` would refuse `payload`; empty where none is known.

    `payload` is what `render` returns, or one made elsewhere. Rules that hosts of one dialect do not
    share are taken in their strict reading. No payload makes it raise; an unknown dialect does
    (HistoryError, `unknown_dialect`).
    """
    if not isinstance(dialect, str) or dialect not in {*RULES, *_BLOCKS}:
        raise HistoryError("unknown_dialect", f"{str(dialect)[:40]!r} is no dialect known here")
    key = "contents" if dialect == "gemini" else "messages"
    messages = payload.get(key) if isinstance(payload, dict) else None
    if not isinstance(messages, list) or not messages:
        return [f"`{key}` must be a list with at least one message"]
    wrong = [f"{key}[{i}] is no object" for i, m in enumerate(messages) if not isinstance(m, dict)]
    if wrong:
        return wrong
    if dialect in _BLOCKS:
        faults = list(_BLOCKS[dialect](payload, messages))
    else:
        faults = list(_chat_faults(messages, RULES[dialect]))
    return faults + _unsendable({k: v for k, v in payload.items() if k != "repairs"})


def _unsendable(payload: dict[str, Any]) -> list[str]:
    try:
        text = json.dumps(payload, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        return [f"the payload has no JSON form: {error}"]
    return (
        ["the payload holds a lone surrogate, which UTF-8 cannot carry"]
        if _SURROGATE.search(text)
        else []
    )


def _chat_faults(messages: list[dict[str, Any]], rules: ChatRules) -> Iterator[str]:
    known = {"user", "assistant"}
    known |= {"system", "developer"} if rules.system else set()
    known |= {"tool"} if rules.tools else set()
    roles = [m.get("role") if isinstance(m.get("role"), str) else None for m in messages]
    for i, (role, message) in enumerate(zip(roles, messages, strict=True)):
        where = f"messages[{i}]"
        if role not in known:
            yield f"{where}: role {role!r} is not known here"
        elif role in ("system", "developer") and i and not rules.system_anywhere:
            yield f"{where}: a system message may stand only at the start"
        yield from (f"{where}: {fault}" for fault in _content_faults(message, rules))
    yield from _order_faults(roles, rules)
    yield from _pairing_faults(messages, rules)
    yield from _reasoning_faults(messages, rules)


def _content_faults(message: dict[str, Any], rules: ChatRules) -> Iterator[str]:
    content, calls = message.get("content"), message.get("tool_calls")
    if calls is not None and (not isinstance(calls, list) or not calls or not rules.tools):
        yield (
            "`tool_calls` is not allowed here"
            if not rules.tools
            else "`tool_calls` must be a list, not empty"
        )
    if calls and message.get("role") != "assistant":
        yield "only an assistant message makes calls"
    if content is None or content == "":
        if not calls:
            yield "no content"
    elif isinstance(content, str):
        if not content.strip():
            yield "blank content"
    elif not isinstance(content, list) or not rules.parts:
        yield "`content` must be text"
    elif not content:
        yield "no content"
    else:
        yield from _part_faults(content)


def _part_faults(parts: list[Any]) -> Iterator[str]:
    for part in parts:
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            yield "a part of `content` has no type"
        elif part["type"] == "text":
            text = part.get("text")
            if not isinstance(text, str) or not text.strip():
                yield "a blank text part"


def _order_faults(roles: list[str | None], rules: ChatRules) -> Iterator[str]:
    spoken = [(i, role) for i, role in enumerate(roles) if role not in ("system", "developer")]
    if not spoken:
        yield "no user message"
        return
    if rules.user_first and spoken[0][1] != "user":
        yield f"messages[{spoken[0][0]}]: the first message after the system message must be the user's"
    if rules.user_last and spoken[-1][1] not in ("user", "tool"):
        yield f"messages[{spoken[-1][0]}]: the last message must not be the assistant's"
    for (_, before), (i, role) in pairwise(spoken):
        if rules.alternate and role == before:
            yield f"messages[{i}]: successive {role} messages; roles must alternate"
        if not rules.user_after_tool and (before, role) == ("tool", "user"):
            yield f"messages[{i}]: a user message may not follow a tool message"


def _pairing_faults(messages: list[dict[str, Any]], rules: ChatRules) -> Iterator[str]:
    open_ids: list[str] = []
    seen: set[str] = set()
    for i, message in enumerate(messages):
        where = f"messages[{i}]"
        if message.get("role") == "tool":
            call_id = message.get("tool_call_id")
            if call_id in open_ids:
                open_ids.remove(call_id)
            else:
                yield f"{where}: a tool message must answer a call of the assistant message before it"
            continue
        if open_ids:
            yield f"{where}: {len(open_ids)} tool call(s) before it have no tool message"
        open_ids = []
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            call_id, fault = _call_fault(call, rules)
            if fault or call_id is None:
                yield f"{where}: {fault}"
                continue
            if call_id in seen:
                yield f"{where}: the call id {call_id!r} is used twice"
            seen.add(call_id)
            open_ids.append(call_id)
    if open_ids:
        yield f"{len(open_ids)} tool call(s) at the end have no tool message"


def _call_fault(call: Any, rules: ChatRules) -> tuple[str | None, str | None]:
    """(id, what is wrong with the call)."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or call.get("type", "function") != "function":
        return None, "a tool call must be an object with a `function`"
    name, call_id, arguments = function.get("name"), call.get("id"), function.get("arguments")
    if not isinstance(call_id, str) or not rules.ids.fullmatch(call_id):
        return None, f"the call id {call_id!r} is not of the form {rules.ids.pattern}"
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        return call_id, f"the tool name {name!r} is not of the form [A-Za-z0-9_-]{{1,64}}"
    if not isinstance(arguments, str):
        return call_id, "the arguments of a call must be JSON text"
    return call_id, None


def _reasoning_faults(messages: list[dict[str, Any]], rules: ChatRules) -> Iterator[str]:
    calls = any(m.get("tool_calls") for m in messages)
    for i, message in enumerate(messages):
        reasoning = message.get("reasoning_content")
        if message.get("role") != "assistant" or rules.reasoning == "free":
            continue
        if rules.reasoning == "forbidden" and reasoning is not None:
            yield f"messages[{i}]: `reasoning_content` must not be sent back"
        if rules.reasoning == "with_calls" and calls and not isinstance(reasoning, str):
            yield f"messages[{i}]: `reasoning_content` must be passed back once tools were called"
