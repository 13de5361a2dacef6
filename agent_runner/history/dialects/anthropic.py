"""Messages API of Anthropic: typed content blocks, results inside user turns."""

from __future__ import annotations

import copy
from typing import Any

from ..blocks import AssistantTurn, Media, Reasoning
from ..errors import HistoryError
from ..wire import TOOL_NAME, WORD_ID, Normal, RepairLog, WireCall, named
from .walk import Step, image_data, steps, with_signed_thinking

ContentBlock = dict[str, Any]


def write_anthropic(normal: Normal, log: RepairLog) -> dict[str, Any]:
    """`system` apart; results first in the user turn; thinking goes back only with its signature.

    A signature holds for the model that made it: a caller who changes the model leaves the thinking
    out.
    """
    messages = []
    for step in steps(normal, WORD_ID, TOOL_NAME, log):
        content = _assistant(step, log) if isinstance(step.turn, AssistantTurn) else _user(step)
        messages.append({"role": step.turn.voice, "content": content})
    system = {} if normal.system is None else {"system": normal.system}
    return {**system, "messages": messages}


def _user(step: Step) -> list[ContentBlock]:
    content = [_tool_result(call) for call in step.calls]
    for block in step.turn.blocks:
        if isinstance(block, Media):
            content.append(_image(block))
        elif not isinstance(block, Reasoning):
            content.append({"type": "text", "text": named(block)})
    return content


def _tool_result(call: WireCall) -> ContentBlock:
    block = {"type": "tool_result", "tool_use_id": call.id, "content": call.result}
    return block | ({"is_error": True} if call.error else {})


def _image(block: Media) -> ContentBlock:
    if block.part["type"] == "image":  # already in Anthropic's form
        return copy.deepcopy(block.part)
    media_type, data = image_data(block.part)
    if media_type:
        source = {"type": "base64", "media_type": media_type, "data": data}
    elif data.startswith(("https://", "http://")):
        source = {"type": "url", "url": data}
    else:
        what = f"anthropic takes no part of type {block.part['type']!r} in this form"
        raise HistoryError("unsupported_content", what)
    return {"type": "image", "source": source}


def _assistant(step: Step, log: RepairLog) -> list[ContentBlock]:
    content: list[ContentBlock] = []
    for block in with_signed_thinking(step, log):
        if not isinstance(block, Reasoning):
            content.append({"type": "text", "text": named(block)})
        elif block.redacted is not None:
            content.append({"type": "redacted_thinking", "data": block.redacted})
        else:
            content.append(
                {"type": "thinking", "thinking": block.text, "signature": block.signature}
            )
    for call in step.calls:
        content.append(
            {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
        )
    return content
