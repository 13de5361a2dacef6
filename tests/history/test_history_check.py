"""`check`: each rule fires on a payload that breaks it, and only then."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from agent_runner.history import DIALECTS, check, render

Payload = dict[str, Any]

CALL = {"id": "abcdefgh1", "type": "function", "function": {"name": "run", "arguments": "{}"}}
HISTORY = [
    {"role": "system", "content": "rules"},
    {"role": "user", "content": "task"},
    {"role": "assistant", "content": "thinking aloud", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "abcdefgh1", "content": "out"},
    {"role": "user", "content": "next"},
    {"role": "assistant", "content": "done"},
    {"role": "user", "content": "good"},
]


def legal(dialect: str) -> Payload:
    payload = render(HISTORY, dialect)
    assert check(payload, dialect) == []
    return payload


def at(*path: Any, to: Any) -> Callable[[Payload], None]:
    """Puts `to` at the end of `path`."""

    def change(payload: Any) -> None:
        for step in path[:-1]:
            payload = payload[step]
        payload[path[-1]] = to

    return change


def without(*path: Any) -> Callable[[Payload], None]:
    def change(payload: Any) -> None:
        for step in path[:-1]:
            payload = payload[step]
        del payload[path[-1]]

    return change


def twice(key: str, index: int) -> Callable[[Payload], None]:
    def change(payload: Payload) -> None:
        payload[key].insert(index, copy.deepcopy(payload[key][index]))

    return change


M = "messages"
USER = {"role": "user", "content": "u"}
BROKEN: list[tuple[str, Callable[[Payload], None], str]] = [
    # chat forms, on the openai payload: system user call tool user assistant user
    ("openai", at(M, to=[]), "at least one"),
    ("openai", at(M, 0, to="x"), "no object"),
    ("openai", at(M, 1, "role", to="critic"), "not known"),
    ("openai", at(M, 1, "role", to=["user"]), "not known"),
    ("openai", at(M, 5, "content", to=None), "no content"),
    ("openai", at(M, 5, "content", to="  "), "blank"),
    ("openai", at(M, 5, "content", to=7), "must be text"),
    ("openai", at(M, 5, "content", to=[{"type": "text", "text": ""}]), "blank text part"),
    ("openai", at(M, 5, "content", to=["x"]), "no type"),
    ("openai", without(M, 3), "no tool message"),
    ("openai", without(M, 2), "must answer a call"),
    ("openai", twice(M, 3), "must answer a call"),
    ("openai", at(M, 4, to=HISTORY[2]), "used twice"),
    ("openai", at(M, 2, "tool_calls", 0, "id", to="x" * 41), "call id"),
    ("openai", at(M, 2, "tool_calls", 0, "function", "name", to="a b"), "tool name"),
    ("openai", at(M, 2, "tool_calls", 0, "function", "arguments", to={}), "JSON text"),
    ("openai", at(M, 2, "tool_calls", to=[]), "not empty"),
    ("openai", at(M, 1, "tool_calls", to=[CALL]), "only an assistant"),
    ("openai", at(M, 5, "reasoning_content", to="r"), "must not be sent back"),
    ("openai", at(M, 1, "content", to="\ud800"), "surrogate"),
    ("openai", at("temperature", to=float("nan")), "no JSON form"),
    ("deepseek-v4", without(M, 5, "reasoning_content"), "must be passed back"),
    ("deepseek-v4", at(M, 1, "content", to=[{"type": "text", "text": "x"}]), "must be text"),
    ("deepseek-v4", without(M, 1), "must be the user's"),
    ("deepseek-v4", without(M, 6), "last message"),
    ("deepseek-v4", at(M, 4, "role", to="system"), "only at the start"),
    ("deepseek-reasoner", twice(M, 1), "alternate"),
    ("deepseek-reasoner", at(M, 4, "reasoning_content", to="r"), "must not be sent back"),
    ("deepseek-reasoner", at(M, 3, "role", to="tool"), "not known"),
    ("deepseek-reasoner", at(M, 2, "tool_calls", to=[CALL]), "not allowed"),
    ("deepseek-reasoner", without(M, 1), "must be the user's"),
    ("mistral", without(M, 4), "may not follow"),
    ("mistral", at(M, 2, "tool_calls", 0, "id", to="call_1"), "call id"),
    ("mistral", at(M, 5, "role", to="system"), "only at the start"),
    ("gemma-template", at(M, 0, "role", to="system"), "not known"),
    ("gemma-template", twice(M, 0), "alternate"),
    # anthropic: user, assistant(text, use), user(result, text), assistant, user
    ("anthropic", at("system", to=" "), "system"),
    ("anthropic", at(M, 0, "content", 0, "text", to=" "), "non-empty"),
    ("anthropic", at(M, 0, "content", to=[]), "no content"),
    ("anthropic", without(M, 0), "must be the user's"),
    ("anthropic", without(M, 4), "last message"),
    ("anthropic", at(M, 0, "role", to="system"), "not known"),
    ("anthropic", without(M, 2, "content", 0), "have no result"),
    ("anthropic", twice(M, 2), "answers no call"),
    ("anthropic", lambda p: p[M][2]["content"].reverse(), "before everything else"),
    ("anthropic", at(M, 1, "content", 1, "input", to="{}"), "must be an object"),
    ("anthropic", at(M, 1, "content", 1, "id", to="a.b"), "call id"),
    ("anthropic", at(M, 3, to={"role": "assistant", "content": [{"type": "x"}]}), "not known"),
    (
        "anthropic",
        at(M, 3, "content", 0, to={"type": "thinking", "thinking": "t", "signature": "s"}),
        "may not stand last",
    ),
    (
        "anthropic",
        lambda p: p[M][3]["content"].insert(0, {"type": "thinking", "thinking": "t"}),
        "no signature",
    ),
    # bedrock
    ("bedrock", at("system", to="rules"), "list of text blocks"),
    ("bedrock", without("toolConfig"), "toolConfig"),
    ("bedrock", twice(M, 0), "alternate"),
    ("bedrock", at(M, 0, "content", 0, "text", to="\n"), "blank"),
    ("bedrock", at(M, 0, "content", to="text"), "must be a list"),
    ("bedrock", without(M, 2, "content", 0), "have no result"),
    ("bedrock", at(M, 2, "content", 0, "toolResult", "toolUseId", to="x"), "answers no call"),
    ("bedrock", at(M, 2, "content", 0, "toolResult", "content", 0, "text", to=""), "blank"),
    ("bedrock", at(M, 1, "content", 1, "toolUse", "input", to=[]), "must be an object"),
    # gemini: user, model(text, call), user(response), model(bridge), user, model, user
    ("gemini", at("contents", to=None), "at least one"),
    ("gemini", at("system", to=""), "system"),
    ("gemini", twice("contents", 0), "alternate"),
    ("gemini", at("contents", 1, "role", to="assistant"), "not known"),
    ("gemini", at("contents", 0, "parts", to=[]), "no parts"),
    ("gemini", at("contents", 0, "parts", 0, "text", to=""), "empty text"),
    ("gemini", at("contents", 2, "parts", 0, to={"text": "x"}), "function responses"),
    ("gemini", lambda p: p["contents"][2]["parts"].append({"text": "x"}), "other parts"),
    ("gemini", at("contents", 1, "parts", 1, "functionCall", "name", to="9x"), "not allowed"),
    ("gemini", at("contents", 1, "parts", 1, "functionCall", "args", to=None), "an object"),
]


@pytest.mark.parametrize(("dialect", "damage", "words"), BROKEN)
def test_each_rule_fires(dialect: str, damage: Callable[[Payload], None], words: str) -> None:
    payload = legal(dialect)
    damage(payload)
    assert any(words in fault for fault in check(payload, dialect)), check(payload, dialect)


def test_every_dialect_is_put_to_the_test() -> None:
    assert {dialect for dialect, _, _ in BROKEN} == set(DIALECTS)


def test_openai_itself_takes_successive_users_and_late_system_messages() -> None:
    assert check({M: [USER, USER, {"role": "system", "content": "s"}]}, "openai") == []
    assert check({M: [USER, USER]}, "deepseek-reasoner") != []


def test_the_refusal_of_the_recorded_runs_is_foreseen() -> None:
    """Two notices in a row, as the old runner sent them: refused as they were, legal once rendered."""
    notices = [USER, {"role": "assistant", "content": "a"}, USER, USER]
    assert check({M: notices}, "deepseek-reasoner") == [
        "messages[3]: successive user messages; roles must alternate"
    ]
    assert check(render(notices, "deepseek-reasoner"), "deepseek-reasoner") == []
