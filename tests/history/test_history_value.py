"""`History`: pending turns, retries, commits, storage."""

from __future__ import annotations

import json
from typing import Any

import pytest
from history_strategies import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agent_runner.history import DIALECTS, History, HistoryError, check, render


def said(history: History) -> list[tuple[str, str]]:
    return [(m["role"], m["content"]) for m in history.messages()]


def test_user_texts_merge_into_the_pending_turn() -> None:
    history = History().with_system("rules").with_user("run failed").with_user("2 runs left")
    assert said(history) == [("system", "rules"), ("user", "run failed\n\n2 runs left")]
    assert history.pending is not None


def test_a_value_is_never_changed() -> None:
    before = History().with_user("a")
    before.with_user("b")
    before.with_reply("c")
    assert said(before) == [("user", "a")]
    with pytest.raises(ValueError):
        before.system = "x"  # type: ignore[misc]


def test_a_retry_of_the_pending_text_is_free() -> None:
    once = History().with_user("prompt", key="attempt-1")
    assert once.with_user("prompt", key="attempt-1") == once
    for _ in range(14):  # a provider that refuses again and again
        once = once.with_user("prompt", key="attempt-1")
    assert said(once) == [("user", "prompt")]


def test_a_key_replaces_its_text_where_it_stands() -> None:
    history = History().with_user("a", key="1").with_user("b", key="2").with_user("c")
    assert said(history.with_user("A", key="1")) == [("user", "A\n\nb\n\nc")]


def test_equal_texts_without_a_key_are_two_facts() -> None:
    assert said(History().with_user("failed").with_user("failed")) == [("user", "failed\n\nfailed")]


def test_a_key_of_a_committed_turn_is_not_looked_for() -> None:
    history = History().with_exchange("a", "b", key="1").with_user("a again", key="1")
    assert said(history) == [("user", "a"), ("assistant", "b"), ("user", "a again")]


def test_user_and_reply_are_committed_together_or_not_at_all() -> None:
    start = History().with_user("first").with_reply("answer", reasoning="why")
    with pytest.raises(HistoryError) as caught:
        start.with_exchange("second", " \n")
    assert caught.value.kind == "blank_reply"
    assert start.pending is None
    assert said(start) == [("user", "first"), ("assistant", "answer")]


def test_a_reply_needs_a_pending_user_turn() -> None:
    committed = History().with_exchange("a", "b")
    for history in (History(), committed):
        with pytest.raises(HistoryError) as caught:
            history.with_reply("b")
        assert caught.value.kind == "no_pending_user"
        assert caught.value.remedy


def test_blank_user_text_adds_nothing() -> None:
    assert History().with_user(" ") == History()
    assert History().with_user("a").with_user("") == History().with_user("a")


def test_append_takes_raw_messages_and_pairs_results() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "run", "arguments": "{}"}}
    history = History().with_user("go")
    history = history.append({"role": "assistant", "content": "ok", "tool_calls": [call]})
    asked = history
    history = history.append({"role": "tool", "tool_call_id": "c", "content": "out"})
    assert said(history)[-1] == ("user", "[tool result run, id c]\nout")
    assert "(the call did not finish" in said(asked)[-1][1]
    assert said(history.append({"role": "assistant", "content": "done"}))[-1][1] == "done"


def test_a_stored_history_reads_back() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,", "detail": None}}
    history = History.from_messages(
        [
            {"role": "system", "content": "s"},
            {"role": "user", "content": ["look", image], "name": "ann"},
            {"role": "assistant", "content": "a", "reasoning_content": "r"},
        ]
    ).with_user("b \udc80", key="k")
    text = history.to_json()
    assert "\n" not in text
    assert History.from_json(text) == history
    assert History.from_json(text.encode()) == history


TURN: dict[str, Any] = {"voice": "user", "blocks": [{"kind": "text", "text": "a"}]}
CALLING: dict[str, Any] = {"voice": "assistant", "calls": [{"name": "run"}]}


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "[]",
        "{",
        json.dumps({"turns": [TURN, TURN]}),
        json.dumps({"turns": [{"voice": "user"}]}),
        json.dumps({"turns": [{"voice": "critic"}]}),
        json.dumps({"turns": [TURN, CALLING]}),
        json.dumps({"turns": [TURN, CALLING, TURN]}),
        json.dumps({"turns": [TURN | {"results": [{}]}]}),
    ],
)
def test_a_stored_history_that_breaks_the_form_is_refused(stored: str) -> None:
    with pytest.raises(HistoryError) as caught:
        History.from_json(stored)
    assert caught.value.kind == "bad_shape"


def test_a_later_field_in_a_stored_history_is_ignored() -> None:
    assert History.from_json(json.dumps({"turns": [TURN], "since": "2.0"})).pending is not None


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6).filter(str.strip)


class Conversation(RuleBasedStateMachine):
    """Notices, retries, replies, refusals in any order: alternating, and nothing is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.history = History()
        self.committed: list[tuple[str, str]] = []
        self.texts: list[str] = []  # of the pending turn
        self.keys: dict[str, int] = {}

    @rule(text=WORDS, key=st.sampled_from([None, "a", "b"]))
    def tell(self, text: str, key: str | None) -> None:
        self.history = self.history.with_user(text, key)
        if key in self.keys:
            self.texts[self.keys[key]] = text
            return
        if key is not None:
            self.keys[key] = len(self.texts)
        self.texts.append(text)

    @rule(text=WORDS)
    def reply(self, text: str) -> None:
        if not self.texts:
            with pytest.raises(HistoryError):
                self.history.with_reply(text)
            return
        self.history = self.history.with_reply(text)
        self.committed += [("user", "\n\n".join(self.texts)), ("assistant", text)]
        self.texts, self.keys = [], {}

    @rule()
    def refused(self) -> None:
        with pytest.raises(HistoryError):
            self.history.with_reply("")

    @rule()
    def restart(self) -> None:
        self.history = History.from_json(self.history.to_json())

    @invariant()
    def says_what_was_said(self) -> None:
        pending = [("user", "\n\n".join(self.texts))] if self.texts else []
        assert said(self.history) == self.committed + pending


Conversation.TestCase.settings = settings(examples(60), stateful_step_count=20)
TestConversation = Conversation.TestCase


@pytest.mark.parametrize("dialect", DIALECTS)
@examples(40)
@given(texts=st.lists(WORDS, min_size=1, max_size=6))
def test_a_history_goes_out_in_every_dialect(dialect: str, texts: list[str]) -> None:
    history = History().with_system("rules")
    for text in texts:
        history = history.with_exchange(text, text).with_user(text)
    payload = render(history.messages(), dialect)
    assert check(payload, dialect) == []
    assert {r["kind"] for r in payload["repairs"]} <= {"system_folded"}
