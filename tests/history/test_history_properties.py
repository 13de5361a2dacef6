"""Properties of `render` over well-formed rounds with named faults, in every dialect."""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from history_strategies import (
    answered_calls,
    damaged,
    examples,
    expected_results,
    leaves,
    sides,
    well_formed,
)
from hypothesis import given
from hypothesis import strategies as st

from agent_runner.history import DIALECTS, FILLERS, History, HistoryError, check, render

Message = dict[str, Any]

FLAT = ("deepseek-reasoner", "gemma-template")
CHAT = ("openai", "deepseek-v4", "mistral", *FLAT)
WITH_TOOLS = tuple(d for d in DIALECTS if d not in FLAT)
KINDS = ("no_turns", "unknown_role", "bad_shape", "unsupported_content")
UNANSWERED = "(the call did not finish: no result was recorded)"
BRIDGE = "(results received)"
LABELS = re.compile(
    r"\[system note\]\n|\[result without an open call[^\]\n]*\]\n|\[tool (call|result) run, id [^\]\n]*\]\n"
)

properties = examples(80)
each_dialect = pytest.mark.parametrize("dialect", DIALECTS)


def body(payload: Message) -> list[Message]:
    return payload.get("messages", payload.get("contents"))


@each_dialect
@properties
@given(messages=damaged())
def test_pure_deterministic_and_legal(dialect: str, messages: list[Message]) -> None:
    before = copy.deepcopy(messages)
    payload = render(messages, dialect)
    assert messages == before
    assert render(messages, dialect) == payload
    assert check(payload, dialect) == []
    json.dumps(payload)


@each_dialect
@properties
@given(messages=damaged())
def test_nothing_is_lost_or_put_into_another_voice(dialect: str, messages: list[Message]) -> None:
    said = sides(render(messages, dialect))
    for (role, text), count in Counter(leaves(messages)).items():
        side = "assistant" if role == "assistant" else "user"
        assert sum(t.count(text) for s, t in said if s == side) >= count, (role, text)
        assert not any(text in t for s, t in said if s != side)


@each_dialect
@properties
@given(messages=damaged())
def test_what_is_said_stays_in_order(dialect: str, messages: list[Message]) -> None:
    whole = "\n".join(text for _, text in sides(render(messages, dialect)))
    place = 0
    for role, text in leaves(messages):
        if role != "tool":
            place = whole.index(text, place) + len(text)


@each_dialect
@properties
@given(messages=damaged())
def test_nothing_is_invented(dialect: str, messages: list[Message]) -> None:
    known = {text for _, text in leaves(messages)}
    known |= {call["function"]["arguments"] for m in messages for call in m.get("tool_calls") or ()}
    for side, text in sides(render(messages, dialect)):
        allowed = [BRIDGE] if side == "assistant" else [f for f in FILLERS if f != BRIDGE]
        rest = LABELS.sub("", text)
        # The longest first: arguments that were cut off can be the beginning of others.
        for piece in (*sorted(known, key=len, reverse=True), *allowed):
            rest = rest.replace(piece, "")
        assert not rest.strip(), (side, text)


@pytest.mark.parametrize("dialect", WITH_TOOLS)
@properties
@given(messages=damaged())
def test_each_result_stands_under_its_call(dialect: str, messages: list[Message]) -> None:
    expected = expected_results(messages)
    numbers = [
        re.findall(r"arg\d+", call["function"]["arguments"])
        for message in messages
        for call in message.get("tool_calls") or ()
    ]
    answered = answered_calls(render(messages, dialect))
    assert [re.findall(r"arg\d+", arguments) for arguments, _ in answered] == numbers
    assert [text for _, text in answered] == ["\n\n".join(e) or UNANSWERED for e in expected]


@pytest.mark.parametrize("dialect", FLAT)
@properties
@given(messages=damaged())
def test_flattened_results_follow_their_call(dialect: str, messages: list[Message]) -> None:
    payload = render(messages, dialect)
    made: list[str] = []
    for message in payload["messages"]:
        assert set(message) == {"role", "content"}
        if message["role"] == "assistant":
            made = re.findall(r"^\[tool call run, id (.*)\]$", message["content"], re.M)
        elif message["role"] == "user":
            labels = r"^\[tool result run, id (.*)\]$"
            assert re.findall(labels, message["content"], re.M) == made
            made = []


@pytest.mark.parametrize("dialect", CHAT)
@properties
@given(messages=damaged())
def test_rendering_again_changes_nothing(dialect: str, messages: list[Message]) -> None:
    once = render(messages, dialect)["messages"]
    assert render(once, dialect)["messages"] == once


@properties
@given(messages=damaged())
def test_anthropic_content_blocks_are_read_back(messages: list[Message]) -> None:
    payload = render(messages, "anthropic")
    system = [{"role": "system", "content": payload["system"]}] if "system" in payload else []
    again = render([*system, *payload["messages"]], "anthropic")
    del again["repairs"], payload["repairs"]
    for message in (*again["messages"], *payload["messages"]):
        for block in message["content"]:
            block.pop("is_error", None)  # a filler's flag is not read back into a result
    assert again == payload


@each_dialect
@properties
@given(messages=damaged())
def test_dialects_compose(dialect: str, messages: list[Message]) -> None:
    through = render(render(messages, "openai")["messages"], dialect)
    assert check(through, dialect) == []
    said = sides(through)
    for (_, text), count in Counter(leaves(messages)).items():
        assert sum(t.count(text) for _, t in said) >= count


@each_dialect
@properties
@given(messages=damaged())
def test_what_was_sent_stays_a_prefix(dialect: str, messages: list[Message]) -> None:
    messages = [*messages, {"role": "user", "content": "last <q>"}]
    longer = [
        *messages,
        {"role": "assistant", "content": "answer <a>"},
        {"role": "user", "content": "next <n>"},
    ]
    before, after = body(render(messages, dialect)), body(render(longer, dialect))
    assert after[: len(before)] == before
    assert len(after) > len(before)


@properties
@given(messages=well_formed())
def test_a_canonical_history_is_left_alone(messages: list[Message]) -> None:
    payload = render(messages, "openai")
    assert payload == {"messages": messages, "repairs": []}


@each_dialect
@properties
@given(messages=damaged())
def test_reasoning_goes_only_where_it_is_taken(dialect: str, messages: list[Message]) -> None:
    payload = render(messages, dialect)
    recorded = [
        m["reasoning_content"]
        for m in messages
        if "reasoning_content" in m and ((m["content"] or "").strip() or m.get("tool_calls"))
    ]
    if dialect != "deepseek-v4":
        text = json.dumps({k: v for k, v in payload.items() if k != "repairs"})
        assert "reasoning_content" not in text
        assert not any(json.dumps(r)[1:-1] in text for r in recorded)
        return
    sent = [m["reasoning_content"] for m in payload["messages"] if m.get("reasoning_content")]
    assert sent == recorded  # verbatim, in order, never two in one


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = ["content", "tool_calls", "tool_call_id", "name", "function_call", "reasoning_content"]
FIELDS += ["refusal", "thinking_blocks", "audio", "parts"]
TYPES = ["text", "image_url", "tool_use", "tool_result", "thinking", "redacted_thinking", "refusal"]
PARTS = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES)},
    optional={k: JSON for k in ("text", "image_url", "id", "name", "input", "content", "thinking")},
)
CALLS = st.fixed_dictionaries(
    {},
    optional={
        "id": JSON,
        "type": st.just("function"),
        "function": st.fixed_dictionaries({}, optional={"name": st.text(), "arguments": JSON}),
    },
)
ODD = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "model", "function", "x"])},
    optional={k: JSON for k in FIELDS}
    | {"content": st.text(max_size=5) | st.lists(PARTS | st.text(max_size=5), max_size=3)}
    | {"tool_calls": st.lists(CALLS, max_size=2)},
)


@each_dialect
@examples(150)
@given(value=JSON | st.lists(JSON | ODD, max_size=5))
def test_any_value_gives_a_legal_payload_or_a_named_error(dialect: str, value: Any) -> None:
    try:
        payload = render(value, dialect)
    except HistoryError as error:
        assert error.kind in KINDS
        assert error.message and error.remedy
        return
    assert check(payload, dialect) == []


@each_dialect
@examples(150)
@given(value=JSON | st.dictionaries(st.sampled_from(["messages", "contents", "system"]), JSON))
def test_check_takes_any_payload(dialect: str, value: Any) -> None:
    assert check(value, dialect), "nothing here is a payload"


@properties
@given(messages=damaged())
def test_appending_is_normalising(messages: list[Message]) -> None:
    history = History()
    for message in messages:
        history = history.append(message)
    assert history == History.from_messages(messages)
    assert History.from_json(history.to_json()) == history
    roles = [m["role"] for m in history.messages() if m["role"] != "system"]
    assert all(before != after for before, after in pairwise(roles))
