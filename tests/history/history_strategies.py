"""Message lists for property tests: well-formed rounds first, then named faults; and readers of payloads."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

Message = dict[str, Any]

NASTY = [
    "assistant:",
    "<|im_end|>\n<|im_start|>assistant",
    "[INST] stop [/INST]",
    '  File "x.py", line 3\n    raise ValueError\n',
    "```\nunclosed",
    "ALL_COMPLETED",
    "\ttabs and trailing   ",
    "(continue)",
    "日本語 🧪",
    '{"json": true}',
]
WORDS = st.one_of(
    st.sampled_from(NASTY), st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
)


def examples(count: int) -> settings:
    """That many examples, however slow the machine: nothing here is timed."""
    slow = [HealthCheck.too_slow]
    return settings(max_examples=count, deadline=None, suppress_health_check=slow)


class Texts:
    """Makes every text unlike every other, so that places and counts can be told."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, words: str) -> str:
        self.count += 1
        return f"{words}<{self.count:04d}>"


def _call(call_id: str, number: int) -> Message:
    arguments = json.dumps({"n": f"arg{number:04d}"})
    return {"id": call_id, "type": "function", "function": {"name": "run", "arguments": arguments}}


def _result(call_id: str, text: str) -> Message:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


@st.composite
def well_formed(draw: st.DrawFn, tools: bool = True) -> list[Message]:
    """A legal list: [system,] then rounds of user, (assistant with calls, results)*, assistant; user last."""
    new = Texts()
    messages: list[Message] = []
    calls = 0
    if draw(st.booleans()):
        messages.append({"role": "system", "content": new(draw(WORDS))})
    for _ in range(draw(st.integers(0, 4))):
        messages.append({"role": "user", "content": new(draw(WORDS))})
        for _ in range(draw(st.integers(0, 2)) if tools else 0):
            made = [_call(f"call_{calls + i}", calls + i) for i in range(draw(st.integers(1, 3)))]
            calls += len(made)
            text = new(draw(WORDS)) if draw(st.booleans()) else None
            messages.append({"role": "assistant", "content": text, "tool_calls": made})
            messages += [_result(c["id"], new(draw(WORDS))) for c in made]
        messages.append({"role": "assistant", "content": new(draw(WORDS))})
    messages.append({"role": "user", "content": new(draw(WORDS))})
    return messages


# ---------------------------------------------------------------- faults: (messages, position) -> messages


def _nearest(messages: list[Message], at: int, fits: Callable[[Message], Any]) -> int | None:
    order = sorted(range(len(messages)), key=lambda i: (abs(i - at), i))
    return next((i for i in order if fits(messages[i])), None)


def _role(role: str) -> Callable[[Message], bool]:
    return lambda message: message["role"] == role


def duplicate_user(messages: list[Message], at: int) -> list[Message]:
    i = _nearest(messages, at, _role("user"))
    return messages if i is None else [*messages[: i + 1], messages[i], *messages[i + 1 :]]


def dropped_reply(messages: list[Message], at: int) -> list[Message]:
    i = _nearest(messages, at, lambda m: m["role"] == "assistant" and not m.get("tool_calls"))
    return messages if i is None else messages[:i] + messages[i + 1 :]


def dropped_user(messages: list[Message], at: int) -> list[Message]:
    i = _nearest(messages, at, _role("user"))
    return messages if i is None else messages[:i] + messages[i + 1 :]


def lost_result(messages: list[Message], at: int) -> list[Message]:
    i = _nearest(messages, at, _role("tool"))
    return messages if i is None else messages[:i] + messages[i + 1 :]


def doubled_result(messages: list[Message], at: int) -> list[Message]:
    i = _nearest(messages, at, _role("tool"))
    if i is None:
        return messages
    second = messages[i] | {"content": f"{messages[i]['content']} again"}
    return [*messages[: i + 1], second, *messages[i + 1 :]]


def late_result(messages: list[Message], at: int) -> list[Message]:
    i = _nearest(messages, at, _role("tool"))
    if i is None:
        return messages
    rest = messages[:i] + messages[i + 1 :]
    place = min(i + 1 + at % 3, len(rest))
    return [*rest[:place], messages[i], *rest[place:]]


def orphan_result(messages: list[Message], at: int) -> list[Message]:
    return [*messages[:at], _result(f"lost_{at}", f"orphan <o{at}>"), *messages[at:]]


def user_before_result(messages: list[Message], at: int) -> list[Message]:
    i = _nearest(messages, at, _role("tool"))
    if i is None:
        return messages
    return [*messages[:i], {"role": "user", "content": f"hasty <h{at}>"}, *messages[i:]]


def late_system(messages: list[Message], at: int) -> list[Message]:
    role = "system" if at % 2 else "developer"
    return [*messages[:at], {"role": role, "content": f"note <s{at}>"}, *messages[at:]]


def blank_message(messages: list[Message], at: int) -> list[Message]:
    role = ("user", "assistant", "system", "tool")[at % 4]
    blank: Message = {"role": role, "content": (None, "", " \n\t", [])[at // 4 % 4]}
    if role == "tool":
        blank["tool_call_id"] = "call_0"
    return [*messages[:at], blank, *messages[at:]]


def leading_assistant(messages: list[Message], at: int) -> list[Message]:
    first = next((i for i, m in enumerate(messages) if m["role"] != "system"), len(messages))
    greeting = {"role": "assistant", "content": f"hello <l{at}>"}
    return [*messages[:first], greeting, *messages[first:]]


def trailing_assistant(messages: list[Message], at: int) -> list[Message]:
    return [*messages, {"role": "assistant", "content": f"and <t{at}>  "}]


def reused_ids(messages: list[Message], at: int) -> list[Message]:
    for message in messages:
        for i, call in enumerate(message.get("tool_calls") or ()):
            call["id"] = f"same_{i}"
    seen = 0
    for message in messages:  # results get the ids of their round again
        if message["role"] == "assistant":
            seen = 0
        elif message["role"] == "tool":
            message["tool_call_id"] = f"same_{seen}"
            seen += 1
    return messages


def same_id_twice(messages: list[Message], at: int) -> list[Message]:
    i = _nearest(messages, at, lambda m: len(m.get("tool_calls") or ()) > 1)
    if i is not None:
        first, second = messages[i]["tool_calls"][:2]
        for message in messages[i:]:
            if message.get("tool_call_id") == second["id"]:
                message["tool_call_id"] = first["id"]
        second["id"] = first["id"]
    return messages


def broken_json(messages: list[Message], at: int) -> list[Message]:
    i = _nearest(messages, at, lambda m: m.get("tool_calls"))
    if i is not None:
        function = messages[i]["tool_calls"][0]["function"]
        function["arguments"] = function["arguments"][:-1]
    return messages


def odd_id(messages: list[Message], at: int) -> list[Message]:
    i = _nearest(messages, at, lambda m: m.get("tool_calls"))
    if i is not None:
        call = messages[i]["tool_calls"][0]
        odd = ("functions.run:0", "é" * 3, "x" * 80, "a b")[at % 4]
        for message in messages[i:]:
            if message.get("tool_call_id") == call["id"]:
                message["tool_call_id"] = odd
        call["id"] = odd
    return messages


def reasoning_only(messages: list[Message], at: int) -> list[Message]:
    thought = {"role": "assistant", "content": "", "reasoning_content": f"hm <r{at}>"}
    return [*messages[:at], thought, *messages[at:]]


def with_reasoning(messages: list[Message], at: int) -> list[Message]:
    for i, message in enumerate(messages):
        if message["role"] == "assistant" and (i + at) % 2:
            message["reasoning_content"] = f"because <b{i}>"
    return messages


def two_replies(messages: list[Message], at: int) -> list[Message]:
    i = _nearest(messages, at, lambda m: m["role"] == "assistant" and m.get("content"))
    if i is None:
        return messages
    first = messages[i] | {"reasoning_content": f"first <x{at}>"}
    if first.pop("tool_calls", None):
        return messages
    second = {"role": "assistant", "content": f"more <m{at}>", "reasoning_content": f"y <y{at}>"}
    return [*messages[:i], first, second, *messages[i + 1 :]]


FAULTS = [
    two_replies,
    duplicate_user,
    dropped_reply,
    dropped_user,
    lost_result,
    doubled_result,
    late_result,
    orphan_result,
    user_before_result,
    late_system,
    blank_message,
    leading_assistant,
    trailing_assistant,
    reused_ids,
    same_id_twice,
    broken_json,
    odd_id,
    reasoning_only,
    with_reasoning,
]


@st.composite
def damaged(draw: st.DrawFn) -> list[Message]:
    """A well-formed list with up to five faults. Holds at least one message that says something."""
    messages = draw(well_formed())
    for fault in draw(st.lists(st.sampled_from(FAULTS), max_size=5)):
        messages = fault(copy.deepcopy(messages), draw(st.integers(0, len(messages))))
    heard = [m for m in messages if m["role"] not in ("system", "developer")]
    if not any((m["content"] or "").strip() for m in heard):
        messages.append({"role": "user", "content": "kept <k>"})
    return messages


# ---------------------------------------------------------------- readers


def leaves(messages: list[Message]) -> list[tuple[str, str]]:
    """(role, text) of every message with visible text, in order."""
    texts = [(m["role"], m["content"]) for m in messages if isinstance(m.get("content"), str)]
    return [(role, text) for role, text in texts if text.strip()]


def sides(payload: Message) -> list[tuple[str, str]]:
    """(side, text) of everything a payload says, in order; the system text is the user side's.

    Arguments and reasoning are left out; a tool result counts for the user's side.
    """
    out: list[tuple[str, str]] = []
    system = payload.get("system")
    for text in [system] if isinstance(system, str) else [b["text"] for b in system or ()]:
        out.append(("user", text))
    for message in payload.get("messages", payload.get("contents")):
        side = "assistant" if message["role"] in ("assistant", "model") else "user"
        content = message.get("content", message.get("parts"))
        blocks = [{"text": content}] if isinstance(content, str) else content or ()
        out += [(side, text) for block in blocks for text in _block_texts(block)]
    return out


def _block_texts(block: Message) -> list[str]:
    if "text" in block:
        return [block["text"]]
    if block.get("type") == "tool_result":
        return [block["content"]]
    if "toolResult" in block:
        return [part["text"] for part in block["toolResult"]["content"]]
    if "functionResponse" in block:
        return list(block["functionResponse"]["response"].values())
    return []


def answered_calls(payload: Message) -> list[tuple[str, str]]:
    """(arguments as JSON, result text) of every call, in order; results are found by id."""
    calls: list[tuple[str, str]] = []
    results: dict[str, str] = {}
    for message in payload.get("messages", payload.get("contents")):
        if message["role"] == "tool":
            assert message["tool_call_id"] not in results
            results[message["tool_call_id"]] = message["content"]
        for call in message.get("tool_calls") or ():
            calls.append((call["id"], call["function"]["arguments"]))
        content = message.get("content", message.get("parts"))
        for block in content if isinstance(content, list) else ():
            for key in ("functionResponse", "toolResult"):
                if key in block:
                    inner = block[key]
                    call_id = inner.get("id", inner.get("toolUseId"))
                    assert call_id not in results
                    results[call_id] = _block_texts(block)[0]
            if block.get("type") == "tool_result":
                assert block["tool_use_id"] not in results
                results[block["tool_use_id"]] = block["content"]
            use = block.get("functionCall") or block.get("toolUse")
            use = block if block.get("type") == "tool_use" else use
            if use:
                call_id = use.get("id", use.get("toolUseId"))
                calls.append((call_id, json.dumps(use.get("args", use.get("input")))))
    assert len(calls) == len(results)
    return [(arguments, results[call_id]) for call_id, arguments in calls]


def expected_results(messages: list[Message]) -> list[list[str]]:
    """What each call should be answered with, by the rules, told in the plainest way: the test's own oracle."""
    out: list[list[str]] = []
    current: list[tuple[str, list[str]]] = []  # the calls of this round
    for message in messages:
        visible = isinstance(message["content"], str) and bool(message["content"].strip())
        if message["role"] == "assistant" and (visible or message.get("tool_calls")):
            current = [(call["id"], []) for call in message.get("tool_calls") or ()]
            out += [texts for _, texts in current]
        elif message["role"] == "tool":
            mine = [texts for call_id, texts in current if call_id == message["tool_call_id"]]
            if mine:
                place = next((texts for texts in mine if not texts), mine[-1])
                place.append(message["content"] if visible else "(no output)")
    return out
