"""Raw OpenAI-style messages -> what was said (`Spoken`) and what a tool gave back (`Returned`).

Roles are mapped, never guessed; a shape that is not understood is an error, never dropped. Parts in
the shape of Anthropic's content blocks (`tool_use`, `tool_result`, `thinking`) are understood too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .blocks import Call, Media, Reasoning, Text, encodable, is_blank
from .errors import HistoryError
from .wire import NO_OUTPUT, RepairLog, dump_arguments, joined

ROLES: dict[str, Literal["system", "user", "assistant", "tool"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
}
TEXT_PARTS = ("text", "input_text", "output_text")
MEDIA_PARTS = ("image_url", "input_audio", "file", "image")


@dataclass(frozen=True)
class Spoken:
    """What one message said: visible blocks, reasoning, calls.

    Has visible text, media or a call.
    """

    voice: Literal["system", "user", "assistant"]
    blocks: tuple[Text | Media | Reasoning, ...]
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True)
class Returned:
    """What one tool message gave back; `text` is never blank."""

    call_id: str | None
    name: str | None
    text: str
    error: bool = False


Item = Spoken | Returned


def read_messages(messages: Any, log: RepairLog) -> Iterator[tuple[int, Item]]:
    """All items of a message list, with the index of their message. Raises HistoryError."""
    if not isinstance(messages, list | tuple):
        raise HistoryError("bad_shape", f"messages must be a list, not {type(messages).__name__}")
    for index, message in enumerate(messages):
        for item in read_message(message, index, log):
            yield index, item


def read_message(message: Any, index: int, log: RepairLog) -> list[Item]:
    """The items of one message: none for a blank one. Raises HistoryError."""
    if not isinstance(message, Mapping):
        raise HistoryError("bad_shape", f"messages[{index}] is no object", index)
    reader = _Reader(message, index, log)
    match reader.role():
        case "system":
            return reader.system()
        case "user":
            return reader.user()
        case "assistant":
            return reader.assistant()
        case "tool":
            return reader.tool()


class _Reader:
    """Reads one message; knows its index for errors and repairs."""

    def __init__(self, message: Mapping[str, Any], index: int, log: RepairLog) -> None:
        self.message = message
        self.index = index
        self.log = log

    def error(self, kind: str, what: str) -> HistoryError:
        return HistoryError(kind, f"messages[{self.index}]: {what}", self.index)

    def role(self) -> Literal["system", "user", "assistant", "tool"]:
        role = self.message.get("role")
        if not isinstance(role, str):
            raise self.error("bad_shape", "`role` must be a string")
        if role not in ROLES:
            raise self.error("unknown_role", f"role {role[:40]!r} is not known")
        known = ROLES[role]
        if known != role:
            self.log.add("role_renamed", self.index, f"{role} is read as {known}")
        if known != "assistant":
            for field in ("tool_calls", "function_call"):
                if self.message.get(field):
                    raise self.error("bad_shape", f"`{field}` is the assistant's only")
        return known

    # ---------------------------------------------------------------- the four roles

    def system(self) -> list[Item]:
        texts = self._texts(self._parts(self.message.get("content")), "a system message")
        return self._spoken("system", tuple(texts), ())

    def user(self) -> list[Item]:
        items: list[Item] = []
        blocks: list[Text | Media] = []
        for part in self._parts(self.message.get("content")):
            if part["type"] == "tool_result":
                items.append(self._tool_result(part))
            elif part["type"] in MEDIA_PARTS:
                blocks.append(self._media(part))
            else:
                blocks += self._texts([part], "a user message")
        if items and not any(isinstance(b, Media) or not is_blank(b.text) for b in blocks):
            return items
        return items + self._spoken("user", tuple(blocks), ())

    def assistant(self) -> list[Item]:
        if self.message.get("audio") is not None:
            raise self.error("unsupported_content", "`audio` of the assistant cannot be sent on")
        calls = self._tool_calls()
        given = {call.id for call in calls if call.id}
        thoughts = self._thinking(self.message.get("thinking_blocks") or [])
        blocks: list[Text | Reasoning] = [thought for thought in thoughts if thought.signed]
        for part in self._parts(self.message.get("content")):
            if part["type"] == "tool_use":
                call = self._call(part.get("id"), part.get("name"), part.get("input"))
                calls += [call] * (call.id not in given)  # some send a call in both forms
            elif part["type"] in ("thinking", "redacted_thinking"):
                said = self._thinking([part])
                thoughts += said
                blocks += [thought for thought in said if thought.signed]  # in their order
            else:
                blocks += self._texts([part], "an assistant message")
        if refusal := self.message.get("refusal"):
            blocks.append(Text(text=self._text(refusal, "refusal"), name=self._name()))
        return self._spoken("assistant", (*self._unsigned(thoughts), *blocks), tuple(calls))

    def tool(self) -> list[Item]:
        texts = self._texts(
            self._parts(self.message.get("content")), "a tool message", speaker=False
        )
        name = self._optional("name") or self._optional("tool_name")
        return [self._returned(self._optional("tool_call_id"), name, texts)]

    # ---------------------------------------------------------------- pieces

    def _spoken(
        self,
        voice: Literal["system", "user", "assistant"],
        blocks: tuple[Text | Media | Reasoning, ...],
        calls: tuple[Call, ...],
    ) -> list[Item]:
        visible = tuple(b for b in blocks if not (isinstance(b, Text) and is_blank(b.text)))
        if calls or any(not isinstance(b, Reasoning) for b in visible):
            return [Spoken(voice, visible, calls)]
        what = f"a {voice} message without visible text"
        self.log.add("blank_dropped", self.index, what + (" (reasoning only)" if visible else ""))
        return []

    def _returned(
        self, call_id: str | None, name: str | None, texts: list[Text], error: bool = False
    ) -> Returned:
        text = joined(t.text for t in texts if not is_blank(t.text))
        if not text:
            self.log.add("blank_result", self.index, "a blank tool result is marked as such")
        return Returned(call_id, name, text or NO_OUTPUT, error)

    def _text(self, value: Any, field: str) -> str:
        if not isinstance(value, str):
            raise self.error("bad_shape", f"`{field}` must be text, not {type(value).__name__}")
        clean = encodable(value)
        if clean != value:
            self.log.add(
                "unencodable", self.index, f"`{field}` held characters that UTF-8 cannot carry"
            )
        return clean

    def _optional(self, field: str) -> str | None:
        value = self.message.get(field)
        return None if value is None else self._text(value, field).strip() or None

    def _name(self) -> str | None:
        name = self._optional("name")
        return " ".join(name.split()) if name else None

    def _parts(self, content: Any) -> list[dict[str, Any]]:
        """The content as a list of typed parts."""
        if content is None:
            if self.message.get("parts"):
                raise self.error("bad_shape", "`parts` is Gemini's form; `content` is expected")
            return []
        if isinstance(content, str):
            return [{"type": "text", "text": content}]
        if not isinstance(content, list | tuple):
            raise self.error(
                "bad_shape", f"`content` must be text or a list, not {type(content).__name__}"
            )
        return [self._part(part) for part in content]

    def _part(self, part: Any) -> dict[str, Any]:
        if isinstance(part, str):
            return {"type": "text", "text": part}
        if not isinstance(part, Mapping):
            raise self.error("bad_shape", "a part of `content` must be text or an object")
        kind = part.get("type", "text" if "text" in part else None)
        if not isinstance(kind, str):
            raise self.error("bad_shape", "a part of `content` has no `type`")
        return {**part, "type": kind}

    def _texts(self, parts: list[dict[str, Any]], where: str, speaker: bool = True) -> list[Text]:
        out = []
        for part in parts:
            kind = part["type"]
            if kind not in (*TEXT_PARTS, "refusal"):
                raise self.error(
                    "unsupported_content", f"a part of type {kind[:40]!r} cannot stand in {where}"
                )
            field = "refusal" if kind == "refusal" else "text"
            name = self._name() if speaker else None
            out.append(Text(text=self._text(part.get(field), field), name=name))
        return out

    def _media(self, part: dict[str, Any]) -> Media:
        kind = part["type"]
        value = part.get("source" if kind == "image" else kind)
        url = value.get("url") if isinstance(value, Mapping) else value
        fits = isinstance(url, str) if kind == "image_url" else isinstance(value, Mapping)
        if not fits:
            raise self.error("bad_shape", f"a part of type {kind!r} holds no {kind}")
        try:
            return Media(
                part=json.loads(json.dumps(part))
            )  # a copy: later changes stay the caller's
        except (TypeError, ValueError, RecursionError) as error:
            raise self.error("bad_shape", f"a part of type {kind!r} has no JSON form") from error

    def _tool_result(self, part: dict[str, Any]) -> Returned:
        call_id = part.get("tool_use_id")
        call_id = None if call_id is None else self._text(call_id, "tool_use_id").strip() or None
        texts = self._texts(self._parts(part.get("content")), "a tool result", speaker=False)
        return self._returned(call_id, None, texts, part.get("is_error") is True)

    def _tool_calls(self) -> list[Call]:
        raw = self.message.get("tool_calls")
        if raw is not None and not isinstance(raw, list | tuple):
            raise self.error("bad_shape", "`tool_calls` must be a list")
        calls = [self._tool_call(entry) for entry in raw or ()]
        legacy = self.message.get("function_call")
        if legacy is not None:
            if not isinstance(legacy, Mapping):
                raise self.error("bad_shape", "`function_call` must be an object")
            calls.append(self._call(None, legacy.get("name"), legacy.get("arguments")))
        return calls

    def _tool_call(self, entry: Any) -> Call:
        if not isinstance(entry, Mapping):
            raise self.error("bad_shape", "an entry of `tool_calls` must be an object")
        kind = entry.get("type", "function")
        if kind not in ("function", None):
            raise self.error(
                "unsupported_content", f"a tool call of type {str(kind)[:40]!r} is not known"
            )
        function = entry.get("function")
        if not isinstance(function, Mapping):
            raise self.error("bad_shape", "a tool call needs a `function` with its `name`")
        signature: Any = entry
        for field in (
            "extra_content",
            "google",
            "thought_signature",
        ):  # the form of Google's own endpoint
            signature = signature.get(field) if isinstance(signature, Mapping) else None
        call = self._call(entry.get("id"), function.get("name"), function.get("arguments"))
        return (
            call.model_copy(update={"signature": signature}) if isinstance(signature, str) else call
        )

    def _call(self, call_id: Any, name: Any, arguments: Any) -> Call:
        if not isinstance(arguments, str | None):
            try:
                arguments = dump_arguments(arguments)
            except (TypeError, ValueError, RecursionError) as error:
                raise self.error(
                    "bad_shape", "the arguments of a call have no JSON form"
                ) from error
        return Call(
            id=None if call_id is None else self._text(call_id, "id").strip() or None,
            name=self._text(name, "name"),
            arguments=self._text(arguments or "", "arguments"),
        )

    def _thinking(self, parts: Any) -> list[Reasoning]:
        if not isinstance(parts, list | tuple):
            raise self.error("bad_shape", "`thinking_blocks` must be a list")
        out = []
        for part in parts:
            if not isinstance(part, Mapping):
                raise self.error("bad_shape", "a thinking block must be an object")
            if part.get("type") == "redacted_thinking":
                out.append(Reasoning(redacted=self._text(part.get("data"), "data")))
                continue
            thought = part.get("thinking")
            if isinstance(thought, list | tuple):  # Mistral's form: text parts inside
                thought = joined(t.text for t in self._texts(self._parts(thought), "a thought"))
            signature = part.get("signature") or None
            if signature is not None:
                signature = self._text(signature, "signature")
            out.append(Reasoning(text=self._text(thought, "thinking"), signature=signature))
        return out

    def _unsigned(self, thoughts: list[Reasoning]) -> list[Reasoning]:
        """The reasoning that stood beside the message, verbatim; at most one block per message."""
        for field in ("reasoning_content", "reasoning"):
            value = self.message.get(field)
            if isinstance(value, str):
                return [Reasoning(text=self._text(value, field))]
        texts = [t.text for t in thoughts if not t.signed]
        return [Reasoning(text=joined(texts))] if texts else []
