"""Contents of the Gemini API: `user` and `model`, parts inside.

User text never shares a content with a function response (Gemini 3 answers that with nothing), and
two user contents never follow each other (refused by some routes): a short model line stands
between.
"""

from __future__ import annotations

from typing import Any

from ..blocks import AssistantTurn, Media, Reasoning, Text
from ..errors import HistoryError
from ..wire import (
    BRIDGE,
    GEMINI_TOOL_NAME,
    PRINTABLE_ID,
    Normal,
    RenderOptions,
    RepairLog,
    WireCall,
    named,
)
from .walk import Step, image_data, steps

Part = dict[str, Any]


def write_gemini(normal: Normal, options: RenderOptions, log: RepairLog) -> dict[str, Any]:
    """`contents`, and `system` as text for `system_instruction`."""
    contents: list[dict[str, Any]] = []
    for step in steps(normal, PRINTABLE_ID, GEMINI_TOOL_NAME, log):
        if isinstance(step.turn, AssistantTurn):
            contents.append({"role": "model", "parts": _model(step, options, log)})
            continue
        results, said = [_function_response(call) for call in step.calls], _said(step)
        if results:
            contents.append({"role": "user", "parts": results})
        if results and said:
            log.add(
                "bridge_added",
                step.index,
                "a model line stands between function responses and user text",
            )
            contents.append({"role": "model", "parts": [{"text": BRIDGE}]})
        if said:
            contents.append({"role": "user", "parts": said})
    system = {} if normal.system is None else {"system": normal.system}
    return {**system, "contents": contents}


def _function_response(call: WireCall) -> Part:
    key = "error" if call.error else "output"
    return {"functionResponse": {"id": call.id, "name": call.name, "response": {key: call.result}}}


def _said(step: Step) -> list[Part]:
    parts: list[Part] = []
    for block in step.turn.blocks:
        if isinstance(block, Text):
            parts.append({"text": named(block)})
        elif isinstance(block, Media):
            media_type, data = image_data(block.part)
            if media_type is None:
                what = f"gemini takes no part of type {block.part['type']!r} in this form (images as data URLs)"
                raise HistoryError("unsupported_content", what)
            parts.append({"inlineData": {"mimeType": media_type, "data": data}})
    return parts


def _model(step: Step, options: RenderOptions, log: RepairLog) -> list[Part]:
    assert isinstance(step.turn, AssistantTurn)
    parts: list[Part] = [{"text": named(b)} for b in step.turn.blocks if isinstance(b, Text)]
    if any(isinstance(block, Reasoning) for block in step.turn.blocks):
        log.add("reasoning_dropped", step.index, "gemini takes back signatures of calls only")
    for call in step.calls:
        use = {"id": call.id, "name": call.name, "args": call.arguments}
        signature = call.signature or options.gemini_signature
        parts.append({"functionCall": use} | ({"thoughtSignature": signature} if signature else {}))
    return parts
