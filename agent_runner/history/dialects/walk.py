"""Going through a history turn by turn, as every dialect does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..blocks import AssistantTurn, Reasoning, Text, UserTurn
from ..wire import Normal, RepairLog, WireCall, wire_calls

DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,([A-Za-z0-9+/=]+)")


@dataclass(frozen=True)
class Step:
    """One turn with the calls it makes (assistant) or the calls whose results open it (user)."""

    turn: UserTurn | AssistantTurn
    calls: tuple[WireCall, ...]
    index: int  # of the input message that opened the turn


def steps(
    normal: Normal, id_rule: re.Pattern[str], name_rule: re.Pattern[str], log: RepairLog
) -> Iterator[Step]:
    """The turns in order."""
    answered: tuple[WireCall, ...] = ()
    made_by_turn = wire_calls(normal, id_rule, name_rule, log)
    for turn, made, index in zip(normal.turns, made_by_turn, normal.origins, strict=True):
        yield Step(turn, made if isinstance(turn, AssistantTurn) else answered, index)
        answered = made


def with_signed_thinking(step: Step, log: RepairLog) -> list[Text | Reasoning]:
    """The blocks of an assistant turn, with the reasoning that may go back: signed, and not in last place."""
    assert isinstance(step.turn, AssistantTurn)
    blocks = list(step.turn.blocks)
    last_text = max((i for i, b in enumerate(blocks) if isinstance(b, Text)), default=-1)
    end = len(blocks) if step.calls else last_text
    kept = [b for i, b in enumerate(blocks) if isinstance(b, Text) or (b.signed and i < end)]
    if len(kept) < len(blocks):
        log.add(
            "reasoning_dropped",
            step.index,
            "reasoning without a signature, or in last place, is not sent back",
        )
    return kept


def image_data(part: dict[str, object]) -> tuple[str | None, str]:
    """(media type, base64 data) of an `image_url` part with a data URL; (None, url) of one with an address."""
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        return None, ""
    match = DATA_URL.fullmatch(url)
    return (match[1], match[2]) if match else (None, url)
