"""Which rule a provider says was broken, from the text of its refusal."""

from __future__ import annotations

import re

# In order: the first row with a match names the kind. Wordings as reported for the providers' APIs,
# the chat templates behind local servers included.
_TABLE: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "roles_alternate",
        (
            "does not support successive",
            "must alternate",
            "should be alternating",
        ),
    ),
    (
        "first_not_user",
        (
            r"first message \(except the system",
            "must start with a user",
            "first message must use",
        ),
    ),
    (
        "last_not_user",
        (
            "last message of deepseek-reasoner must",
            "expected last role",
            "assistant message prefill",
            "ends with a user role",
            "2 or more assistant messages",
        ),
    ),
    (
        "unanswered_call",
        (
            "must be followed by tool messages",
            "without tool_result blocks",
            "no tool output found",
            "not the same number of function calls",
            "number of function response parts",
            "insufficient tool messages",
        ),
    ),
    (
        "orphan_result",
        (
            "must be a response to a prec",
            "unexpected tool_use_id",
            "number of toolresult blocks",
            "unexpected role 'tool'",
        ),
    ),
    ("user_after_tool", ("unexpected role 'user' after role 'tool'",)),
    ("duplicate_id", ("ids must be unique", "single result")),
    (
        "blank",
        (
            "non-empty",
            "non-whitespace",
            "must not be empty",
            "empty text parameter",
            "required oneof field",
        ),
    ),
    (
        "reasoning_missing",
        (
            "reasoning_(content|text).* must be passed back",
            "missing reasoning_content",
        ),
    ),
    ("reasoning_altered", ("thinking.* blocks .*cannot be modified", "thought_signature")),
    (
        "system_position",
        (
            "system message must be at the beginning",
            "role 'system'",
            "system role not supported",
        ),
    ),
    ("tools_not_declared", ("toolconfig field must be defined",)),
    (
        "too_large",
        (
            "string too long",
            "string_above_max_length",
            "request_too_large",
            "context length",
            "context_length_exceeded",
            "prompt is too long",
        ),
    ),
)
_PATTERNS = tuple((kind, re.compile("|".join(wordings))) for kind, wordings in _TABLE)

REFUSALS = tuple(kind for kind, _ in _TABLE)
REPAIRABLE = frozenset(REFUSALS) - {"tools_not_declared", "too_large"}
"""Faults in the form of a history: ours, never the agent's.

Render once more with `STRICTEST`, charge nothing.
"""


def classify_refusal(text: str) -> str | None:
    """The kind of a provider's refusal (one of `REFUSALS`), or None where its text names no rule
    known here.

    The text may be the bare message or the JSON or exception around it; case, quoting and line
    breaks do not matter.
    """
    plain = re.sub(r"\\n|\s+", " ", text.lower())
    plain = re.sub(r"\\+", "", plain).replace('"', "'").replace("`", "").replace("\u2019", "'")
    return next((kind for kind, pattern in _PATTERNS if pattern.search(plain)), None)
