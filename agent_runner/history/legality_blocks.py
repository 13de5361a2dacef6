"""Checks of the dialects with blocks inside messages: anthropic, bedrock, gemini.

See `legality.check`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Messages = list[dict[str, Any]]
_WORD = re.compile(r"[A-Za-z0-9_-]{1,64}")
_GEMINI_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")


def check_anthropic(payload: dict[str, Any], messages: Messages) -> Iterator[str]:
    """Rules of the Messages API."""
    if (
        "system" in payload
        and _blank(payload["system"])
        and not isinstance(payload["system"], list)
    ):
        yield "`system` must be text that is not blank"
    yield from _voices(messages, "messages", ("user", "assistant"), alternate=False)
    open_ids: list[Any] = []
    seen: set[str] = set()
    for i, message in enumerate(messages):
        where, blocks = f"messages[{i}]", _blocks(message.get("content"))
        if not blocks:
            yield f"{where}: no content"
        results = [b.get("tool_use_id") for b in blocks if b.get("type") == "tool_result"]
        yield from (f"{where}: {fault}" for fault in _answers(open_ids, results))
        kinds = [b.get("type") for b in blocks]
        if "tool_result" in kinds[len(results) :]:
            yield f"{where}: tool results must stand before everything else"
        if kinds and kinds[-1] in ("thinking", "redacted_thinking"):
            yield f"{where}: thinking may not stand last"
        uses = [b for b in blocks if b.get("type") == "tool_use"]
        if uses and message.get("role") != "assistant":
            yield f"{where}: only an assistant message uses tools"
        for block in blocks:
            yield from (f"{where}: {fault}" for fault in _anthropic_block(block))
        open_ids = [b.get("id") for b in uses]
        for use in uses:
            yield from (
                f"{where}: {f}"
                for f in _use(use.get("id"), use.get("name"), use.get("input"), seen)
            )
    if open_ids:
        yield "tool uses at the end have no result"


def _anthropic_block(block: dict[str, Any]) -> Iterator[str]:
    kind = block.get("type")
    if kind == "text" and _blank(block.get("text")):
        yield "text blocks must be non-empty"
    elif kind == "thinking" and (
        not isinstance(block.get("signature"), str) or not block["signature"]
    ):
        yield "a thinking block has no signature"
    elif kind == "tool_result":
        content = block.get("content")
        if isinstance(content, list) and any(
            _blank(part.get("text", "?")) for part in _blocks(content)
        ):
            yield "text blocks must be non-empty"
    elif kind not in ("text", "thinking", "redacted_thinking", "tool_use", "image", "document"):
        yield f"a block of type {kind!r} is not known"


def check_bedrock(payload: dict[str, Any], messages: Messages) -> Iterator[str]:
    """Rules of Converse."""
    system = payload.get("system", [{"text": "?"}])
    if (
        not isinstance(system, list)
        or any(_blank(b.get("text")) for b in _blocks(system))
        or not system
    ):
        yield "`system` must be a list of text blocks that are not blank"
    yield from _voices(messages, "messages", ("user", "assistant"), alternate=True)
    open_ids: list[Any] = []
    seen: set[str] = set()
    tools = False
    for i, message in enumerate(messages):
        where, blocks = f"messages[{i}]", _blocks(message.get("content"))
        if not blocks or isinstance(message.get("content"), str):
            yield f"{where}: `content` must be a list, not empty"
        results = [_dict(b["toolResult"]) for b in blocks if "toolResult" in b]
        uses = [_dict(b["toolUse"]) for b in blocks if "toolUse" in b]
        tools = tools or bool(results or uses)
        yield from (
            f"{where}: {f}" for f in _answers(open_ids, [r.get("toolUseId") for r in results])
        )
        if any("text" in b and _blank(b["text"]) for b in blocks):
            yield f"{where}: text blocks must not be blank"
        if any(_blank(c.get("text", "?")) for r in results for c in _blocks(r.get("content"))):
            yield f"{where}: text blocks must not be blank"
        if uses and message.get("role") != "assistant":
            yield f"{where}: only an assistant message uses tools"
        open_ids = [use.get("toolUseId") for use in uses]
        for use in uses:
            faults = _use(use.get("toolUseId"), use.get("name"), use.get("input"), seen)
            yield from (f"{where}: {fault}" for fault in faults)
    if open_ids:
        yield "tool uses at the end have no result"
    if tools and not _dict(payload.get("toolConfig")).get("tools"):
        yield "the toolConfig field must be defined when tools are used"


def check_gemini(payload: dict[str, Any], contents: Messages) -> Iterator[str]:
    """Rules of generateContent."""
    if "system" in payload and (
        not isinstance(payload["system"], str) or _blank(payload["system"])
    ):
        yield "`system` must be text that is not blank"
    yield from _voices(contents, "contents", ("user", "model"), alternate=True)
    calls: list[Any] = []
    for i, content in enumerate(contents):
        where, parts = f"contents[{i}]", _blocks(content.get("parts"))
        if not parts:
            yield f"{where}: no parts"
        if any("text" in part and _blank(part["text"]) for part in parts):
            yield f"{where}: empty text parameter"
        answers = [
            _dict(p["functionResponse"]).get("name") for p in parts if "functionResponse" in p
        ]
        if answers != calls:
            yield f"{where}: function responses {answers!r} for function calls {calls!r}"
        if answers and len(answers) < len(parts):
            yield f"{where}: other parts beside function responses"
        made = [_dict(p["functionCall"]) for p in parts if "functionCall" in p]
        calls = [call.get("name") for call in made]
        if made and content.get("role") != "model":
            yield f"{where}: only the model calls functions"
        for call in made:
            if not isinstance(call.get("name"), str) or not _GEMINI_NAME.fullmatch(call["name"]):
                yield f"{where}: the function name {call.get('name')!r} is not allowed"
            if not isinstance(call.get("args"), dict):
                yield f"{where}: the arguments of a call must be an object"
    if calls:
        yield "function calls at the end have no response"


def _voices(messages: Messages, key: str, known: tuple[str, str], alternate: bool) -> Iterator[str]:
    roles = [m.get("role") for m in messages]
    for i, role in enumerate(roles):
        if role not in known:
            yield f"{key}[{i}]: role {role!r} is not known here"
        if alternate and i and role == roles[i - 1]:
            yield f"{key}[{i}]: successive {role} messages; roles must alternate"
    if roles[0] != "user":
        yield f"{key}[0]: the first message must be the user's"
    if roles[-1] != "user":
        yield f"{key}[{len(roles) - 1}]: the last message must be the user's"


def _answers(open_ids: list[Any], results: list[Any]) -> Iterator[str]:
    missing = list(open_ids)
    for result in results:
        if result in missing:
            missing.remove(result)
        else:
            yield f"a tool result for {result!r} answers no call of the message before"
    if missing:
        yield f"{len(missing)} tool call(s) of the message before have no result"


def _use(use_id: Any, name: Any, arguments: Any, seen: set[str]) -> Iterator[str]:
    if not isinstance(use_id, str) or not _WORD.fullmatch(use_id):
        yield f"the call id {use_id!r} is not of the form {_WORD.pattern}"
    elif use_id in seen:
        yield f"call ids must be unique: {use_id!r}"
    else:
        seen.add(use_id)
    if not isinstance(name, str) or not _WORD.fullmatch(name):
        yield f"the tool name {name!r} is not of the form {_WORD.pattern}"
    if not isinstance(arguments, dict):
        yield "the arguments of a call must be an object"


def _blank(value: Any) -> bool:
    return not isinstance(value, str) or not value.strip()


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _blocks(content: Any) -> list[dict[str, Any]]:
    """Content as a list of blocks; what is none becomes an empty block, which no rule knows."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [_dict(block) for block in content] if isinstance(content, list) else []
