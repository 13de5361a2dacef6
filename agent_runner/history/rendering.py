"""`render`: any raw message list -> a payload that a provider of the dialect accepts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .assembly import Draft, with_ends
from .dialects.anthropic import write_anthropic
from .dialects.bedrock import write_bedrock
from .dialects.chat import DEEPSEEK_V4, MISTRAL, OPENAI, ChatForm, write_chat
from .dialects.flat import fold_system, write_flat
from .dialects.gemini import write_gemini
from .errors import HistoryError
from .intake import read_messages
from .wire import Normal, RenderOptions, RepairLog

Writer = Callable[[Normal, RenderOptions, RepairLog], dict[str, Any]]


def _chat(form: ChatForm) -> Writer:
    def write(normal: Normal, options: RenderOptions, log: RepairLog) -> dict[str, Any]:
        return {"messages": write_chat(with_ends(normal, log), form, options, log)}

    return write


def _deepseek_reasoner(normal: Normal, options: RenderOptions, log: RepairLog) -> dict[str, Any]:
    return {"messages": write_flat(with_ends(normal, log), "deepseek-reasoner", log)}


def _gemma_template(normal: Normal, options: RenderOptions, log: RepairLog) -> dict[str, Any]:
    # Folded first: where an assistant opens, the system text is the user turn that must stand
    # before it.
    folded = with_ends(fold_system(normal, log), log)
    return {"messages": write_flat(folded, "gemma-template", log)}


def _anthropic(normal: Normal, options: RenderOptions, log: RepairLog) -> dict[str, Any]:
    return write_anthropic(with_ends(normal, log), log)


def _bedrock(normal: Normal, options: RenderOptions, log: RepairLog) -> dict[str, Any]:
    return write_bedrock(with_ends(normal, log), options, log)


def _gemini(normal: Normal, options: RenderOptions, log: RepairLog) -> dict[str, Any]:
    return write_gemini(with_ends(normal, log), options, log)


WRITERS: dict[str, Writer] = {
    "openai": _chat(OPENAI),
    "deepseek-reasoner": _deepseek_reasoner,
    "deepseek-v4": _chat(DEEPSEEK_V4),
    "anthropic": _anthropic,
    "bedrock": _bedrock,
    "gemini": _gemini,
    "mistral": _chat(MISTRAL),
    "gemma-template": _gemma_template,
}
DIALECTS = tuple(WRITERS)
STRICTEST = "deepseek-reasoner"
"""The chat dialect that asks least of a host: try it once when a provider refuses the form of a history.
"""


def render(
    messages: list[dict[str, Any]], dialect: str, options: RenderOptions | None = None
) -> dict[str, Any]:
    """Any OpenAI-style message list, in the form the dialect demands.

    Returns `messages` (`contents` for gemini), `system` apart for anthropic, bedrock and gemini
    where there is any, `toolConfig` for bedrock where tools were called, and `repairs`: a list of
    {kind, index, detail}, `index` counting the input's messages. Nothing said is lost, reordered or
    put into another voice; only a tool result moves, up to its call. The payload ends on the user's
    side and shares nothing with the input. Pure: the same input gives the same payload; a chat
    payload rendered again is itself.

    Raises HistoryError: `no_turns`, `unknown_role`, `bad_shape`, `unsupported_content`,
    `unknown_dialect`.
    """
    if not isinstance(dialect, str) or dialect not in WRITERS:
        known = ", ".join(DIALECTS)
        raise HistoryError("unknown_dialect", f"{str(dialect)[:40]!r} is none of: {known}")
    log = RepairLog()
    draft = Draft(log)
    for index, item in read_messages(messages, log):
        draft.add(item, index)
    if not draft.turns:
        raise HistoryError(
            "no_turns", "the list holds nothing that a user, an assistant or a tool said"
        )
    try:
        payload = WRITERS[dialect](draft.normal(), options or RenderOptions(), log)
    except RecursionError as error:
        raise HistoryError("bad_shape", "a part is nested too deeply to be copied") from error
    return {**payload, "repairs": log.repairs}
