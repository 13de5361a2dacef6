"""`History`: the value that is stored per idea.

Alternating by construction, changed by making a new one.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .assembly import Draft
from .blocks import AssistantTurn, Reasoning, Text, UserTurn, encodable, is_blank
from .dialects.flat import write_flat
from .errors import HistoryError
from .intake import read_messages
from .wire import RepairLog


class History(BaseModel):
    """System text, then turns that strictly alternate between user and assistant.

    A *pending* user turn is one that no reply has followed yet. What is added for the user goes
    into it, so a retry after a refused, timed-out or empty answer can never make a second user
    message. A reply is taken only against a pending user turn: the two are committed together.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    system: str | None = None
    turns: tuple[Annotated[UserTurn | AssistantTurn, Field(discriminator="voice")], ...] = ()

    @model_validator(mode="after")
    def _alternates(self) -> Self:
        calls = 0
        voice = None
        for number, turn in enumerate(self.turns):
            if turn.voice == voice:
                raise ValueError(f"turns {number - 1} and {number} are both the {voice}'s")
            if not (turn.blocks or (turn.results if isinstance(turn, UserTurn) else turn.calls)):
                raise ValueError(f"turn {number} holds nothing")
            results = len(turn.results) if isinstance(turn, UserTurn) else 0
            if results != calls:
                raise ValueError(f"turn {number} holds {results} results for {calls} calls")
            calls = len(turn.calls) if isinstance(turn, AssistantTurn) else 0
            voice = turn.voice
        if calls:
            raise ValueError(
                "the last turn makes calls, and no turn holds a place for their results"
            )
        return self

    # ---------------------------------------------------------------- reading

    @property
    def pending(self) -> UserTurn | None:
        """The user turn that waits for a reply, if there is one."""
        last = self.turns[-1] if self.turns else None
        return last if isinstance(last, UserTurn) else None

    def messages(self) -> list[dict[str, Any]]:
        """`[{"role", "content"}]`, text only, strictly alternating, the system message first where
        there is one.

        Calls and results stand as labelled text. Nothing of ours is added: send it through
        `render`. Raises HistoryError(`unsupported_content`) for a history with images or other
        media.
        """
        draft = Draft(RepairLog(), self.system, self.turns)
        return write_flat(draft.normal(), "a text history", draft.log)

    # ---------------------------------------------------------------- adding

    def with_system(self, text: str) -> History:
        """The same with this system text in place of the old one."""
        return self.model_copy(update={"system": None if is_blank(text) else encodable(text)})

    def with_user(self, text: str, key: str | None = None) -> History:
        """The same with `text` in the pending user turn, or in a new one where none is pending.

        `key` names what is being said (an attempt, a request). Saying it again under the same key
        while the turn is still pending replaces that text where it stands: identical text changes
        nothing, so a retry is free. Without a key, or under a key that is not in the pending turn,
        the text is added; equal texts are then two facts. Blank text adds nothing.
        """
        if is_blank(text):
            return self
        said = Text(text=encodable(text), key=key)
        pending = self.pending
        if pending is None:
            return self._with_turns(*self.turns, UserTurn(blocks=(said,)))
        keys = [block.key if isinstance(block, Text) else None for block in pending.blocks]
        blocks = list(pending.blocks)
        if key is not None and key in keys:
            blocks[keys.index(key)] = said
        else:
            blocks.append(said)
        return self._with_turns(
            *self.turns[:-1], pending.model_copy(update={"blocks": tuple(blocks)})
        )

    def with_reply(self, text: str, *, reasoning: str | None = None) -> History:
        """The same with the assistant's answer to the pending user turn, which is thereby
        committed.

        Raises HistoryError: `no_pending_user` where there is nothing to answer (or the reply was
        committed before), `blank_reply` for an answer without visible text; the pending turn is
        then still there to be asked again.
        """
        if self.pending is None:
            raise HistoryError(
                "no_pending_user", "a reply was given, and no user turn waits for one"
            )
        if is_blank(text):
            raise HistoryError("blank_reply", "the reply has no visible text")
        thought = () if reasoning is None else (Reasoning(text=encodable(reasoning)),)
        turn = AssistantTurn(blocks=(*thought, Text(text=encodable(text))))
        return self._with_turns(*self.turns, turn)

    def with_exchange(
        self, user: str, assistant: str, *, key: str | None = None, reasoning: str | None = None
    ) -> History:
        """User and assistant in one step: both or, on an error, neither."""
        return self.with_user(user, key).with_reply(assistant, reasoning=reasoning)

    def append(self, message: dict[str, Any]) -> History:
        """The same with one raw OpenAI-style message: it goes into the last turn of its voice, or
        opens the next.

        A tool result goes to its call; one that fits no open call stays as labelled text. A blank
        message adds nothing. Raises HistoryError as `render` does.
        """
        return self._extended([message])

    @classmethod
    def from_messages(cls, messages: list[dict[str, Any]]) -> History:
        """A raw OpenAI-style list in normal form: the same as appending its messages one by one."""
        return cls()._extended(messages)

    # ---------------------------------------------------------------- storing

    def to_json(self) -> str:
        """One line of JSON."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> History:
        """The value that `to_json` wrote. Raises HistoryError(`bad_shape`) for anything else."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the top"
            what = f"the stored history cannot be read: {first['msg']} at {where}"
            raise HistoryError("bad_shape", what) from error

    def _with_turns(self, *turns: UserTurn | AssistantTurn) -> History:
        return self.model_copy(update={"turns": turns})

    def _extended(self, messages: list[dict[str, Any]]) -> History:
        draft = Draft(RepairLog(), self.system, self.turns)
        for index, item in read_messages(messages, draft.log):
            draft.add(item, index)
        return History(system=draft.system, turns=tuple(draft.turns))
