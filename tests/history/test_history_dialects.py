"""What each dialect demands, case by case, and how odd input is taken."""

from __future__ import annotations

import json
from typing import Any

import pytest
from history_strategies import answered_calls

from agent_runner.history import DIALECTS, HistoryError, RenderOptions, check, render

Message = dict[str, Any]

SYSTEM = {"role": "system", "content": "rules"}
TASK = {"role": "user", "content": "task"}


def call(call_id: str | None, name: str = "run", arguments: Any = "{}") -> Message:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(*calls: Message, **fields: Any) -> Message:
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **fields}


def result(call_id: str | None, text: Any, **fields: Any) -> Message:
    return {"role": "tool", "tool_call_id": call_id, "content": text, **fields}


TOOL_ROUND = [
    SYSTEM,
    TASK,
    calling(call("call_1", arguments='{"x": 1}')),
    result("call_1", "out"),
    {"role": "user", "content": "next"},
]


def repairs(payload: Message) -> list[str]:
    return [repair["kind"] for repair in payload["repairs"]]


# ---------------------------------------------------------------- one round with a tool, per dialect


def test_openai_leaves_it_alone() -> None:
    assert render(TOOL_ROUND, "openai") == {"messages": TOOL_ROUND, "repairs": []}


def test_deepseek_v4_carries_reasoning_once_tools_were_called() -> None:
    thought = [*TOOL_ROUND, {"role": "assistant", "content": "a"}, TASK]
    thought[2] = thought[2] | {"reasoning_content": " because\n"}
    sent = render(thought, "deepseek-v4")["messages"]
    reasoning = [m["reasoning_content"] for m in sent if m["role"] == "assistant"]
    assert reasoning == [" because\n", ""]
    filled = render(thought, "deepseek-v4", RenderOptions(reasoning_filler=" "))["messages"]
    assert filled[5]["reasoning_content"] == " "


def test_deepseek_v4_sends_no_filler_without_tools() -> None:
    sent = render([TASK, {"role": "assistant", "content": "a"}, TASK], "deepseek-v4")["messages"]
    assert all("reasoning_content" not in message for message in sent)


def test_deepseek_v4_never_mixes_two_reasonings() -> None:
    turns = [
        TASK,
        {"role": "assistant", "content": "a", "reasoning_content": "r1"},
        calling(call("c"), reasoning_content="r2"),
        result("c", "out"),
    ]
    sent = render(turns, "deepseek-v4")
    voices = [(m["role"], m.get("reasoning_content")) for m in sent["messages"]]
    expected = [("user", None), ("assistant", "r1"), ("user", None), ("assistant", "r2")]
    assert voices == [*expected, ("tool", None)]
    assert "reasoning_separated" in repairs(sent)


def test_deepseek_reasoner_is_text_only() -> None:
    sent = render(TOOL_ROUND, "deepseek-reasoner")["messages"]
    assert [m["role"] for m in sent] == ["system", "user", "assistant", "user"]
    assert sent[2]["content"] == '[tool call run, id call_1]\n{"x": 1}'
    assert sent[3]["content"] == "[tool result run, id call_1]\nout\n\nnext"


def test_gemma_folds_the_system_text() -> None:
    sent = render(TOOL_ROUND, "gemma-template")["messages"]
    assert [m["role"] for m in sent] == ["user", "assistant", "user"]
    assert sent[0]["content"] == "rules\n\ntask"


def test_gemma_system_text_is_the_first_turn_where_an_assistant_opens() -> None:
    sent = render([SYSTEM, {"role": "assistant", "content": "hello"}, TASK], "gemma-template")
    assert [m["content"] for m in sent["messages"]] == ["rules", "hello", "task"]


def test_anthropic_puts_results_first_in_the_user_turn() -> None:
    sent = render(TOOL_ROUND, "anthropic")
    assert sent["system"] == "rules"
    assert [m["role"] for m in sent["messages"]] == ["user", "assistant", "user"]
    use = {"type": "tool_use", "id": "call_1", "name": "run", "input": {"x": 1}}
    assert sent["messages"][1]["content"] == [use]
    answer, text = sent["messages"][2]["content"]
    assert answer == {"type": "tool_result", "tool_use_id": "call_1", "content": "out"}
    assert text == {"type": "text", "text": "next"}


def test_bedrock_declares_the_tools_of_the_history() -> None:
    sent = render(TOOL_ROUND, "bedrock")
    assert sent["system"] == [{"text": "rules"}]
    assert [t["toolSpec"]["name"] for t in sent["toolConfig"]["tools"]] == ["run"]
    assert "toolConfig" not in render([TASK], "bedrock")
    assert len(sent["messages"][2]["content"]) == 2


def test_bedrock_bridge_keeps_results_alone_in_their_turn() -> None:
    sent = render(TOOL_ROUND, "bedrock", RenderOptions(bedrock_bridge=True))
    assert [m["role"] for m in sent["messages"]] == ["user", "assistant"] * 2 + ["user"]
    assert [list(b) for b in sent["messages"][2]["content"]] == [["toolResult"]]
    assert check(sent, "bedrock") == []


def test_gemini_never_puts_user_text_beside_a_response() -> None:
    sent = render(TOOL_ROUND, "gemini")
    assert sent["system"] == "rules"
    assert [c["role"] for c in sent["contents"]] == ["user", "model", "user", "model", "user"]
    response = sent["contents"][2]["parts"][0]["functionResponse"]
    assert response == {"id": "call_1", "name": "run", "response": {"output": "out"}}
    assert sent["contents"][4]["parts"] == [{"text": "next"}]


def test_gemini_signatures_go_back_verbatim() -> None:
    signed = call("c1") | {"extra_content": {"google": {"thought_signature": "c2ln"}}}
    turns = [TASK, calling(signed, call("c2")), result("c1", "1"), result("c2", "2")]
    parts = render(turns, "gemini")["contents"][1]["parts"]
    assert [p.get("thoughtSignature") for p in parts] == ["c2ln", None]
    filled = render(turns, "gemini", RenderOptions(gemini_signature="skip"))["contents"][1]["parts"]
    assert [p["thoughtSignature"] for p in filled] == ["c2ln", "skip"]


def test_mistral_bridges_tool_and_user_and_shortens_ids() -> None:
    sent = render(TOOL_ROUND, "mistral")["messages"]
    assert [m["role"] for m in sent] == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert sent[2]["tool_calls"][0]["id"] == sent[3]["tool_call_id"]
    assert len(sent[3]["tool_call_id"]) == 9


def test_ids_with_a_common_beginning_stay_apart() -> None:
    ids = ["tooluse_bpe71yAAAA", "tooluse_bpQQQBBBBB"]
    turns = [TASK, calling(*map(call, ids)), result(ids[1], "second"), result(ids[0], "first")]
    sent = render(turns, "mistral")["messages"]
    made = [c["id"] for c in sent[1]["tool_calls"]]
    assert len(set(made)) == 2
    answers = {m["tool_call_id"]: m["content"] for m in sent if m["role"] == "tool"}
    assert [answers[i] for i in made] == ["first", "second"]


def test_single_calls_split_a_turn_into_call_and_result() -> None:
    turns = [
        TASK,
        calling(call("a"), call("b"), content="both"),
        result("a", "1"),
        result("b", "2"),
    ]
    sent = render(turns, "openai", RenderOptions(single_calls=True))["messages"]
    assert [m["role"] for m in sent] == ["user"] + ["assistant", "tool"] * 2
    assert [m["content"] for m in sent] == ["task", "both", "1", None, "2"]
    assert check({"messages": sent}, "openai") == []


# ---------------------------------------------------------------- repairs


def test_late_system_text_stays_where_it_stood() -> None:
    sent = render([TASK, {"role": "assistant", "content": "a"}, SYSTEM], "openai")
    assert sent["messages"][-1] == {"role": "user", "content": "[system note]\nrules"}
    assert repairs(sent) == ["late_system"]
    assert sent["repairs"][0]["index"] == 2


def test_leading_system_messages_join() -> None:
    turns = [SYSTEM, {"role": "developer", "content": "more"}, TASK]
    assert render(turns, "openai")["messages"][0]["content"] == "rules\n\nmore"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_ends_are_on_the_users_side(dialect: str) -> None:
    payload = render([{"role": "assistant", "content": "alone"}], dialect)
    messages = payload.get("messages", payload.get("contents"))
    assert len(messages) == 3
    assert check(payload, dialect) == []


def test_results_without_an_open_call_become_labelled_text() -> None:
    sent = render([TASK, result("c9", "numbers", name="run")], "openai")
    assert sent["messages"] == [
        {
            "role": "user",
            "content": "task\n\n[result without an open call, tool run, id c9]\nnumbers",
        }
    ]


def test_results_without_an_id_answer_by_name_then_by_position() -> None:
    legacy = {"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": ""}}
    turns = [TASK, legacy, {"role": "function", "name": "f", "content": "1"}]
    sent = render(turns, "openai")["messages"]
    assert sent[2]["content"] == "1"
    assert sent[2]["tool_call_id"] == sent[1]["tool_calls"][0]["id"]
    assert sent[1]["tool_calls"][0]["function"]["arguments"] == "{}"
    unnamed = [TASK, calling(call("a"), call("b")), result(None, "1"), result(None, "2")]
    assert [m["content"] for m in render(unnamed, "openai")["messages"][2:]] == ["1", "2"]
    wrong = [TASK, legacy, {"role": "function", "name": "g", "content": "1"}]
    assert "stray_result" in repairs(render(wrong, "openai"))


def test_two_results_of_one_call_are_both_kept() -> None:
    turns = [TASK, calling(call("a")), result("a", "same"), result("a", "same")]
    assert render(turns, "openai")["messages"][2]["content"] == "same\n\nsame"


def test_blank_results_are_marked() -> None:
    sent = render([TASK, calling(call("a")), result("a", " \n")], "openai")
    assert sent["messages"][2]["content"] == "(no output)"


def test_dropping_a_blank_reply_does_not_leave_two_users() -> None:
    sent = render([TASK, {"role": "assistant", "content": ""}, TASK], "openai")
    assert sent["messages"] == [{"role": "user", "content": "task\n\ntask"}]


@pytest.mark.parametrize(
    "arguments",
    ['{"a": 1', "[1]", "NaN", '{"a": 1, "a": 2}', '{"a": 1e999}', '{"a": "\\ud800"}', "[" * 9999],
)
@pytest.mark.parametrize("dialect", ["openai", "anthropic", "bedrock", "gemini", "mistral"])
def test_arguments_that_are_no_object_are_kept_inside_one(dialect: str, arguments: str) -> None:
    payload = render([TASK, calling(call("a", arguments=arguments))], dialect)
    assert check(payload, dialect) == []
    [(sent, _)] = answered_calls(payload)
    assert json.loads(sent) == {"unparsed_arguments": arguments}


def test_good_arguments_are_not_touched() -> None:
    arguments = '{ "b":1,\n "a": [1.50, "é"] }'
    sent = render([TASK, calling(call("a", arguments=arguments))], "openai")
    assert sent["messages"][1]["tool_calls"][0]["function"]["arguments"] == arguments
    as_object = render([TASK, calling(call("a", arguments={"é": [1]}))], "openai")
    written = as_object["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(written) == {"é": [1]}


@pytest.mark.parametrize("name", ["functions.run", "my tool!", "", "…", "9lives", "x" * 80])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_odd_tool_names_become_legal(dialect: str, name: str) -> None:
    payload = render([TASK, calling(call("a", name=name)), result("a", "1")], dialect)
    assert check(payload, dialect) == []


def test_speaker_names_are_kept_or_become_labels() -> None:
    ann = {"role": "user", "content": "a", "name": "ann"}
    ben = {"role": "user", "content": "b", "name": "ben"}
    assert render([ann], "openai")["messages"] == [ann]
    both = render([ann, ben], "openai")["messages"]
    assert both == [{"role": "user", "content": "[ann]\na\n\n[ben]\nb"}]
    assert render([ann], "mistral")["messages"][0] == {"role": "user", "content": "[ann]\na"}
    assert render([ann], "anthropic")["messages"][0]["content"][0]["text"] == "[ann]\na"


def test_refusals_are_said_by_the_assistant() -> None:
    turns = [TASK, {"role": "assistant", "content": None, "refusal": "no"}, TASK]
    assert render(turns, "openai")["messages"][1] == {"role": "assistant", "content": "no"}


def test_signed_thinking_goes_back_to_anthropic_only() -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "sig"}
    hidden = {"type": "redacted_thinking", "data": "xyz"}
    unsigned = {"type": "thinking", "thinking": "loose"}
    turns = [
        TASK,
        calling(call("a"), content="so", thinking_blocks=[thinking, hidden, unsigned]),
        result("a", "1"),
    ]
    content = render(turns, "anthropic")["messages"][1]["content"]
    assert content[:2] == [thinking, hidden]
    assert [b["type"] for b in content[2:]] == ["text", "tool_use"]
    bedrock = render(turns, "bedrock")["messages"][1]["content"]
    assert bedrock[0] == {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}}
    for dialect in ("openai", "gemini", "mistral", "deepseek-reasoner"):
        payload = render(turns, dialect)
        assert "hm" not in json.dumps(payload)
        assert "reasoning_dropped" in repairs(payload)


# ---------------------------------------------------------------- parts that are not text

PIXEL = "data:image/png;base64,iVBORw0KGgo="
IMAGE = {"type": "image_url", "image_url": {"url": PIXEL}}
SEEN = [{"role": "user", "content": [{"type": "text", "text": "look"}, IMAGE, "and"]}]


def test_images_reach_the_dialects_that_take_them() -> None:
    parts = render(SEEN, "openai")["messages"][0]["content"]
    assert parts == [{"type": "text", "text": "look"}, IMAGE, {"type": "text", "text": "and"}]
    assert render(SEEN, "mistral")["messages"][0]["content"] == parts
    source = render(SEEN, "anthropic")["messages"][0]["content"][1]["source"]
    assert source == {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    inline = render(SEEN, "gemini")["contents"][0]["parts"][1]
    assert inline == {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}


@pytest.mark.parametrize(
    "dialect", ["deepseek-reasoner", "deepseek-v4", "bedrock", "gemma-template"]
)
def test_images_are_never_dropped_in_silence(dialect: str) -> None:
    with pytest.raises(HistoryError) as caught:
        render(SEEN, dialect)
    assert caught.value.kind == "unsupported_content"


def test_payload_shares_nothing_with_the_input() -> None:
    given = json.loads(json.dumps(SEEN))
    payload = render(given, "openai")
    payload["messages"][0]["content"][1]["image_url"]["url"] = "changed"
    assert given == SEEN


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("messages", "kind"),
    [
        ([], "no_turns"),
        ([SYSTEM], "no_turns"),
        ([{"role": "user", "content": "  "}], "no_turns"),
        (None, "bad_shape"),
        ({"role": "user"}, "bad_shape"),
        (["text"], "bad_shape"),
        ([{"content": "no role"}], "bad_shape"),
        ([{"role": "User", "content": "x"}], "unknown_role"),
        ([{"role": "critic", "content": "x"}], "unknown_role"),
        ([{"role": "user", "content": 3}], "bad_shape"),
        ([{"role": "user", "content": [3]}], "bad_shape"),
        ([{"role": "user", "content": [{"type": "text"}]}], "bad_shape"),
        ([{"role": "user", "content": [{"type": "hologram"}]}], "unsupported_content"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "bad_shape"),
        ([{"role": "assistant", "content": [IMAGE]}], "unsupported_content"),
        ([{"role": "assistant", "audio": {"id": "a"}}], "unsupported_content"),
        ([{"role": "model", "parts": [{"text": "x"}]}], "bad_shape"),
        ([{"role": "user", "content": "x", "tool_calls": [call("a")]}], "bad_shape"),
        ([{"role": "assistant", "tool_calls": "x"}], "bad_shape"),
        ([{"role": "assistant", "tool_calls": [{"id": "a"}]}], "bad_shape"),
        ([{"role": "assistant", "tool_calls": [{"type": "custom"}]}], "unsupported_content"),
        ([result(7, "x")], "bad_shape"),
    ],
)
def test_input_that_cannot_be_taken_has_a_named_kind(messages: Any, kind: str) -> None:
    with pytest.raises(HistoryError) as caught:
        render(messages, "openai")
    assert caught.value.kind == kind
    assert caught.value.remedy


def test_an_unknown_dialect_is_named() -> None:
    for use in (render, check):
        with pytest.raises(HistoryError) as caught:
            use([TASK], "esperanto")
        assert caught.value.kind == "unknown_dialect"


def test_text_that_utf8_cannot_carry_is_written_out() -> None:
    payload = render([{"role": "user", "content": "bad \udc80 byte"}], "openai")
    assert payload["messages"][0]["content"] == "bad \\udc80 byte"
    assert check(payload, "openai") == []


def test_interleaved_thinking_keeps_its_order() -> None:
    first = {"type": "thinking", "thinking": "1", "signature": "s1"}
    second = {"type": "thinking", "thinking": "2", "signature": "s2"}
    use = {"type": "tool_use", "id": "a", "name": "run", "input": {}}
    content = [first, {"type": "text", "text": "so"}, second, use]
    turns = [TASK, {"role": "assistant", "content": content}, result("a", "1")]
    assert render(turns, "anthropic")["messages"][1]["content"] == content


def test_a_call_given_in_two_forms_is_one_call() -> None:
    use = {"type": "tool_use", "id": "a", "name": "run", "input": {}}
    turns = [TASK, calling(call("a")) | {"content": [use]}, result("a", "1")]
    assert len(render(turns, "openai")["messages"][1]["tool_calls"]) == 1


def test_two_calls_under_one_id_are_two_calls() -> None:
    use = {"type": "tool_use", "id": "a", "name": "run", "input": {}}
    turns = [TASK, {"role": "assistant", "content": [use, use]}, result("a", "1"), result("a", "2")]
    payload = render(turns, "anthropic")
    assert [text for _, text in answered_calls(payload)] == ["1", "2"]
