"""Converse of Amazon Bedrock: strict alternation, typed content blocks, tools declared beside the messages."""

from __future__ import annotations

from typing import Any

from ..blocks import AssistantTurn, Media, Reasoning, Text
from ..errors import HistoryError
from ..wire import BRIDGE, TOOL_NAME, WORD_ID, Normal, RenderOptions, RepairLog, WireCall, named
from .walk import Step, steps, with_signed_thinking

ContentBlock = dict[str, Any]


def write_bedrock(normal: Normal, options: RenderOptions, log: RepairLog) -> dict[str, Any]:
    """Keyword arguments of Converse.

    `toolConfig` declares the history's tools; the caller's own replaces it.
    """
    messages: list[dict[str, Any]] = []
    names: dict[str, None] = {}
    for step in steps(normal, WORD_ID, TOOL_NAME, log):
        if isinstance(step.turn, AssistantTurn):
            messages.append({"role": "assistant", "content": _assistant(step, log)})
            names |= dict.fromkeys(call.name for call in step.calls)
            continue
        results, said = [_tool_result(call) for call in step.calls], _said(step)
        if options.bedrock_bridge and results and said:
            log.add(
                "bridge_added",
                step.index,
                "an assistant line stands between tool results and user text",
            )
            messages.append({"role": "user", "content": results})
            messages.append({"role": "assistant", "content": [{"text": BRIDGE}]})
            results = []
        messages.append({"role": "user", "content": results + said})
    system = {} if normal.system is None else {"system": [{"text": normal.system}]}
    tools = {"toolConfig": {"tools": [_declaration(name) for name in names]}} if names else {}
    return {**system, "messages": messages, **tools}


def _declaration(name: str) -> ContentBlock:
    return {"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}}


def _tool_result(call: WireCall) -> ContentBlock:
    result = {"toolUseId": call.id, "content": [{"text": call.result}]}
    return {"toolResult": result | ({"status": "error"} if call.error else {})}


def _said(step: Step) -> list[ContentBlock]:
    content = []
    for block in step.turn.blocks:
        if isinstance(block, Media):
            what = f"bedrock takes no part of type {block.part['type']!r} here (Converse wants raw bytes)"
            raise HistoryError("unsupported_content", what)
        if isinstance(block, Text):
            content.append({"text": named(block)})
    return content


def _assistant(step: Step, log: RepairLog) -> list[ContentBlock]:
    content: list[ContentBlock] = []
    for block in with_signed_thinking(step, log):
        if isinstance(block, Text):
            content.append({"text": named(block)})
        elif isinstance(block, Reasoning) and block.redacted is None:
            thought = {"text": block.text, "signature": block.signature}
            content.append({"reasoningContent": {"reasoningText": thought}})
        else:
            log.add(
                "reasoning_dropped", step.index, "redacted reasoning has no text form in Converse"
            )
    for call in step.calls:
        use = {"toolUseId": call.id, "name": call.name, "input": call.arguments}
        content.append({"toolUse": use})
    return content
