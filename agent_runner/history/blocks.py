"""What a history is made of: two voices, blocks inside.

A `UserTurn` holds the results of the calls made in the turn before it, then what the user side
said. An `AssistantTurn` holds what the model said, then the calls it made. Because the results are
kept in call order, one slot per call, a result without a call, or a call without a place for its
result, cannot be written down.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Block(BaseModel):
    """Base of all parts of a turn: immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Text(Block):
    """Words, kept byte for byte.

    `key` names a pending text so that a retry replaces it; `name` is a speaker's.
    """

    kind: Literal["text"] = "text"
    text: str
    name: str | None = None
    key: str | None = None


class Media(Block):
    """A part that is not text, as it was given (`image_url`, `input_audio`, `file`, `image`)."""

    kind: Literal["media"] = "media"
    part: dict[str, Any]


class Reasoning(Block):
    """A model's own reasoning, verbatim.

    Only a block with a `signature` (or `redacted` data) may go back signed.
    """

    kind: Literal["reasoning"] = "reasoning"
    text: str = ""
    signature: str | None = None
    redacted: str | None = None

    @property
    def signed(self) -> bool:
        return self.signature is not None or self.redacted is not None


class Call(Block):
    """One tool call, as the model wrote it: `arguments` is its text, which need not be valid JSON."""

    id: str | None = None
    name: str
    arguments: str = ""
    signature: str | None = None  # Gemini's thought signature of this call


class Result(Block):
    """The place for what one call gave back: no texts = no result has come (yet)."""

    texts: tuple[str, ...] = ()
    name: str | None = None
    error: bool = False


class UserTurn(Block):
    """One turn of the user's side.

    `results` belong, one to one, to the calls of the turn before.
    """

    voice: Literal["user"] = "user"
    results: tuple[Result, ...] = ()
    blocks: tuple[Text | Media, ...] = ()


class AssistantTurn(Block):
    """One turn of the model's."""

    voice: Literal["assistant"] = "assistant"
    blocks: tuple[Text | Reasoning, ...] = ()
    calls: tuple[Call, ...] = ()


Turn = UserTurn | AssistantTurn


def encodable(text: str) -> str:
    """The same text, with lone surrogates (which no provider can be sent) written out as `\\udcxx`."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text


def is_blank(text: str) -> bool:
    """Nothing that a reader would see."""
    return not text.strip()
