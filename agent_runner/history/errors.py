"""The one error of this package."""

from __future__ import annotations

from agent_runner.errors import UsageError

REMEDIES = {
    "no_turns": "Add at least one user, assistant or tool message with visible text.",
    "unknown_role": "Use system, developer, user, assistant or tool.",
    "bad_shape": "Send OpenAI-style messages: objects with a `role` and text, or parts, as `content`.",
    "unsupported_content": "Describe the part in text, or use a dialect that takes it.",
    "unknown_dialect": "Use one of the names in `agent_runner.history.DIALECTS`.",
    "no_pending_user": "Add the user's text with `with_user` first: a reply answers something.",
    "blank_reply": "Ask the provider again; the pending user turn is kept as it is.",
}


class HistoryError(UsageError):
    """A message list, or a step in a history, that cannot be taken as it is.

    `kind` is one of the keys of `REMEDIES`; `index` is the position of the message in the input,
    where one is to blame; `remedy` says what to do next.
    """

    code = "history"

    def __init__(self, kind: str, message: str, index: int | None = None) -> None:
        super().__init__(message, REMEDIES.get(kind, ""))
        self.kind = kind
        self.index = index
