"""Providers' refusals, in the wordings users have reported, by kind."""

from __future__ import annotations

import pytest

from agent_runner.history import REFUSALS, REPAIRABLE, classify_refusal

WORDINGS = [
    (
        "Error code: 400 - {'error': {'message': 'deepseek-reasoner does not support successive user or "
        "assistant messages (messages[7] and messages[8] in your input).'}}",
        "roles_alternate",
    ),
    (
        "jinja2: Conversation roles must alternate user/assistant/user/assistant/...",
        "roles_alternate",
    ),
    ("user and assistant messages should be alternating", "roles_alternate"),
    (
        "The first message (except the system message) of deepseek-reasoner must be a user message",
        "first_not_user",
    ),
    ("A conversation must start with a user message.", "first_not_user"),
    (
        "The last message of deepseek-reasoner must be a user message, or an assistant message with prefix",
        "last_not_user",
    ),
    (
        "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant",
        "last_not_user",
    ),
    ("This model does not support assistant message prefill.", "last_not_user"),
    (
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each",
        "unanswered_call",
    ),
    ("`tool_use` ids were found without `tool_result` blocks immediately after", "unanswered_call"),
    ("insufficient tool messages following tool_calls message", "unanswered_call"),
    (
        "messages with role \\'tool\\' must be a response to a preceeding message with tool_calls",
        "orphan_result",
    ),
    ("unexpected `tool_use_id` found in `tool_result` blocks: toolu_1", "orphan_result"),
    ("The number of toolResult blocks at messages.2.content exceeds", "orphan_result"),
    ("Unexpected role 'tool' after role 'system'", "orphan_result"),
    (
        '{"message":"Unexpected role \\"user\\" after role \\"tool\\"","code":"3230"}',
        "user_after_tool",
    ),
    ("`tool_use` ids must be unique", "duplicate_id"),
    ("each tool_use must have a single result", "duplicate_id"),
    ("messages: text content blocks must be non-empty", "blank"),
    ("text content blocks must contain non-whitespace text", "blank"),
    ("Unable to submit request because it has an empty text parameter", "blank"),
    (
        "The `reasoning_content` in the thinking mode must be passed back to the API.",
        "reasoning_missing",
    ),
    (
        "thinking or redacted_thinking blocks in the latest assistant message cannot be modified",
        "reasoning_altered",
    ),
    ("Function call is missing a thought_signature in functionCall parts", "reasoning_altered"),
    ("System message must be at the beginning.", "system_position"),
    ("System role not supported", "system_position"),
    (
        "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
        "tools_not_declared",
    ),
    (
        "This model's maximum context length is 65536 tokens. However, you requested 70000",
        "too_large",
    ),
    ("prompt is too long: 210000 tokens > 200000 maximum", "too_large"),
]


@pytest.mark.parametrize(("text", "kind"), WORDINGS)
def test_refusals_are_classified(text: str, kind: str) -> None:
    assert classify_refusal(text) == kind
    assert classify_refusal(text.upper()) == kind
    assert classify_refusal(text.replace(" ", "\n ")) == kind


def test_every_kind_has_a_wording() -> None:
    assert {kind for _, kind in WORDINGS} == set(REFUSALS)
    assert len(REPAIRABLE) == 11


@pytest.mark.parametrize("text", ["", "Rate limit reached", "Internal server error", "timed out"])
def test_other_errors_are_not_refusals_of_the_form(text: str) -> None:
    assert classify_refusal(text) is None
