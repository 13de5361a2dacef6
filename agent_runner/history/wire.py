"""What the dialects share: our own lines on the wire, call ids, names, arguments, repairs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from .blocks import AssistantTurn, Call, Result, Text, Turn, UserTurn, encodable, is_blank

# The only words that are ours. They stand on the wire, never in a stored history; BRIDGE alone is
# in the model's voice.
OPENING = "(conversation starts)"
CONTINUE = "(continue)"
BRIDGE = "(results received)"
UNANSWERED = "(the call did not finish: no result was recorded)"
NO_OUTPUT = "(no output)"
FILLERS = (OPENING, CONTINUE, BRIDGE, UNANSWERED, NO_OUTPUT)

UNPARSED = "unparsed_arguments"
UNNAMED = "unnamed_tool"

PRINTABLE_ID = re.compile(r"[!-~]{1,40}")
WORD_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
NINE_ID = re.compile(r"[A-Za-z0-9]{9}")
TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
GEMINI_TOOL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
SPEAKER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

JOINT = "\n\n"


@dataclass(frozen=True)
class RenderOptions:
    """Choices on which hosts of one dialect differ.

    reasoning_filler: what `deepseek-v4` sends where no reasoning was recorded (sources disagree on
    "" or " ").
    single_calls: one call per assistant message (Llama 3.x templates), in the chat dialects.
    bedrock_bridge: an assistant line between results and user text (Llama and Mistral on Bedrock).
    gemini_signature: what stands in for a missing thought signature (Gemini 3 refuses calls without
    one).
    """

    reasoning_filler: str = ""
    single_calls: bool = False
    bedrock_bridge: bool = False
    gemini_signature: str | None = None


@dataclass
class RepairLog:
    """What was changed on the way, so that nothing is done in silence.

    `index` counts the input's messages.
    """

    repairs: list[dict[str, Any]] = field(default_factory=list)

    def add(self, kind: str, index: int, detail: str) -> None:
        self.repairs.append({"kind": kind, "index": index, "detail": detail})


@dataclass(frozen=True)
class Normal:
    """A message list in normal form. `origins[i]` is the input message that opened `turns[i]`."""

    system: str | None
    turns: tuple[Turn, ...]
    origins: tuple[int, ...]


@dataclass(frozen=True)
class WireCall:
    """One call as the dialect can carry it, with its result."""

    id: str
    name: str
    arguments: dict[str, Any]
    arguments_text: str  # JSON that says the same
    said: str  # the arguments as the model wrote them
    signature: str | None
    result: str
    result_name: str | None
    error: bool


def joined(texts: Iterable[str]) -> str:
    return JOINT.join(texts)


def labelled(label: str, text: str) -> str:
    """Text under a label of ours, on a line of its own."""
    return f"[{label}]\n{text}"


def named(text: Text) -> str:
    """The text, under the speaker's name where it has one."""
    return labelled(text.name, text.text) if text.name else text.text


def parse_arguments(text: str) -> dict[str, Any] | None:
    """The JSON object that `text` says, or None where it says none exactly.

    Repeated keys, NaN, numbers beyond a float and lone surrogates count as unparsable: to parse
    them would lose or change what the model wrote.
    """

    def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("repeated key")
        return dict(pairs)

    try:
        value = json.loads(text, object_pairs_hook=unique)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def wire_calls(
    normal: Normal, id_rule: re.Pattern[str], name_rule: re.Pattern[str], log: RepairLog
) -> list[tuple[WireCall, ...]]:
    """The calls of each turn (none for a user turn), each with an id that is legal and used once."""
    used: set[str] = set()
    out: list[tuple[WireCall, ...]] = []
    for i, turn in enumerate(normal.turns):
        if not isinstance(turn, AssistantTurn) or not turn.calls:
            out.append(())
            continue
        after = normal.turns[i + 1]  # a turn that makes calls is followed by that of their results
        results = after.results if isinstance(after, UserTurn) else ()
        pairs = zip(turn.calls, results, strict=True)
        index = normal.origins[i]
        out.append(tuple(_wire_call(c, r, used, index, id_rule, name_rule, log) for c, r in pairs))
    return out


def _wire_call(
    call: Call,
    result: Result,
    used: set[str],
    index: int,
    id_rule: re.Pattern[str],
    name_rule: re.Pattern[str],
    log: RepairLog,
) -> WireCall:
    wire_id = call.id
    if wire_id is None or wire_id in used or not id_rule.fullmatch(wire_id):
        wire_id = _derived_id(call.id or "", used)
        log.add("call_id", index, f"the id of a call of {call.name!r} is sent as {wire_id}")
    used.add(wire_id)
    name = _tool_name(call.name, name_rule)
    if name != call.name:
        log.add("tool_name", index, f"the tool {call.name!r} is sent as {name!r}")
    if not result.texts:
        log.add("unanswered_call", index, f"no result was recorded for {name} ({wire_id})")
    arguments, text = _arguments(call.arguments)
    if text != call.arguments:
        log.add("arguments", index, f"the arguments of {name} ({wire_id}) are no JSON object")
    content = joined(result.texts) if result.texts else UNANSWERED
    error = result.error or not result.texts
    return WireCall(
        id=wire_id,
        name=name,
        arguments=arguments,
        arguments_text=text,
        said=call.arguments or text,
        signature=call.signature,
        result=content,
        result_name=result.name,
        error=error,
    )


def _arguments(text: str) -> tuple[dict[str, Any], str]:
    if is_blank(text):
        return {}, "{}"
    parsed = parse_arguments(text)
    if parsed is not None:
        return parsed, text
    kept = {UNPARSED: text}
    return kept, json.dumps(kept, ensure_ascii=False)


def _derived_id(original: str, used: set[str]) -> str:
    """An id every provider takes (9 of [a-z0-9]), from position and original; never a cut-off prefix."""
    position = len(used)  # each call before this one has put exactly one id there
    for salt in count():
        digest = hashlib.sha256(f"{position}\n{salt}\n{original}".encode()).digest()
        number = int.from_bytes(digest[:8], "big")
        letters = ""
        for _ in range(9):
            number, rest = divmod(number, 36)
            letters += "0123456789abcdefghijklmnopqrstuvwxyz"[rest]
        if letters not in used:
            return letters
    raise AssertionError("unreachable: count() does not end")


def _tool_name(name: str, rule: re.Pattern[str]) -> str:
    if rule.fullmatch(name):
        return name
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64]
    if not safe.strip("_"):
        return UNNAMED
    return safe if rule.fullmatch(safe) else f"_{safe}"[:64]


def dump_arguments(value: Any) -> str:
    """Arguments that came as a value, as text.

    Raises TypeError, ValueError or RecursionError where JSON has no form.
    """
    return encodable(json.dumps(value, ensure_ascii=False))
