"""Items, one after the other -> turns in normal form.

Left to right, and nothing later changes what stands: building a history message by message and
normalising the whole list are the same thing. The order of the steps (blanks out, pair results,
then merge) follows from that: blank messages never come this far, a result looks only at the round
it arrives in, and merging is what appending to the last turn does.
"""

from __future__ import annotations

from collections.abc import Iterable

from .blocks import AssistantTurn, Media, Reasoning, Result, Text, Turn, UserTurn
from .intake import Item, Returned, Spoken
from .wire import CONTINUE, OPENING, Normal, RepairLog, joined, labelled, named


class Draft:
    """A history being built; `add` takes one item, `normal` gives the value."""

    def __init__(
        self,
        log: RepairLog,
        system: str | None = None,
        turns: Iterable[Turn] = (),
    ) -> None:
        self.log = log
        self.system = system
        self.turns = list(turns)
        self.origins = [0] * len(self.turns)

    def add(self, item: Item, index: int) -> None:
        """Take one item of message `index`."""
        if isinstance(item, Returned):
            self._add_result(item, index)
        elif item.voice == "system":
            self._add_system(item, index)
        elif item.voice == "user":
            self._add_user(tuple(b for b in item.blocks if not isinstance(b, Reasoning)), index)
        else:
            self._add_assistant(item, index)

    def normal(self) -> Normal:
        return Normal(self.system, tuple(self.turns), tuple(self.origins))

    def _open(self, turn: Turn, index: int) -> None:
        self.turns.append(turn)
        self.origins.append(index)

    def _add_system(self, item: Spoken, index: int) -> None:
        text = joined(named(b) for b in item.blocks if isinstance(b, Text))
        if self.turns:
            # Moving it to the front would change what it referred to; it stays where it stood.
            self.log.add(
                "late_system",
                index,
                "a system message after the start is sent as labelled user text",
            )
            self._add_user((Text(text=labelled("system note", text)),), index)
            return
        if self.system is not None:
            self.log.add("system_joined", index, "joined with the system message before it")
        self.system = text if self.system is None else joined((self.system, text))

    def _add_user(self, blocks: tuple[Text | Media, ...], index: int) -> None:
        last = self.turns[-1] if self.turns else None
        if not isinstance(last, UserTurn):
            self._open(UserTurn(blocks=blocks), index)
            return
        if last.blocks:
            self.log.add("merged", index, "joined with the user text before it")
        self.turns[-1] = last.model_copy(update={"blocks": last.blocks + blocks})

    def _add_assistant(self, item: Spoken, index: int) -> None:
        blocks = tuple(b for b in item.blocks if not isinstance(b, Media))
        last = self.turns[-1] if self.turns else None
        if isinstance(
            last, AssistantTurn
        ):  # without calls: those are followed by the turn of their results
            self.log.add("merged", index, "joined with the assistant message before it")
            update = {"blocks": last.blocks + blocks, "calls": item.calls}
            self.turns[-1] = last.model_copy(update=update)
        else:
            self._open(AssistantTurn(blocks=blocks, calls=item.calls), index)
        if item.calls:
            self._open(UserTurn(results=tuple(Result() for _ in item.calls)), index)

    def _add_result(self, item: Returned, index: int) -> None:
        slot = self._slot(item)
        last = self.turns[-1] if self.turns else None
        if slot is None or not isinstance(last, UserTurn):
            self.log.add(
                "stray_result",
                index,
                "a tool result that answers no open call is kept as labelled text",
            )
            self._add_user((Text(text=labelled(_stray_label(item), item.text)),), index)
            return
        before = last.results[slot]
        if before.texts:
            self.log.add("doubled_result", index, "joined with the result the call already has")
        if last.blocks:
            self.log.add("result_moved", index, "moved up to its call, before the user text")
        result = Result(
            texts=(*before.texts, item.text),
            name=before.name or item.name,
            error=before.error or item.error,
        )
        results = (*last.results[:slot], result, *last.results[slot + 1 :])
        self.turns[-1] = last.model_copy(update={"results": results})

    def _slot(self, item: Returned) -> int | None:
        """Which call of the current round it answers: the first open one with its id, else the last
        answered one.

        A result that names no call answers by its tool's name, or by position.
        """
        if len(self.turns) < 2:
            return None
        last, calling = self.turns[-1], self.turns[-2]
        if not isinstance(last, UserTurn) or not isinstance(calling, AssistantTurn):
            return None
        slots = list(zip(range(len(calling.calls)), calling.calls, last.results, strict=True))
        if item.call_id is None:
            fits = [(i, r) for i, c, r in slots if item.name in (None, c.name)]
            return next((i for i, r in fits if not r.texts), None)
        fits = [(i, r) for i, c, r in slots if c.id == item.call_id]
        return next((i for i, r in fits if not r.texts), fits[-1][0] if fits else None)


def _stray_label(item: Returned) -> str:
    which = [f"tool {item.name}"] * bool(item.name) + [f"id {item.call_id}"] * bool(item.call_id)
    return " ".join(", ".join(["result without an open call", *which]).split())


def with_ends(normal: Normal, log: RepairLog) -> Normal:
    """The same, starting and ending on the user's side: short lines of ours stand in, nothing is dropped."""
    turns, origins = list(normal.turns), list(normal.origins)
    if isinstance(turns[0], AssistantTurn):
        log.add(
            "opening_added",
            origins[0],
            "a short user line stands before the first assistant message",
        )
        turns.insert(0, UserTurn(blocks=(Text(text=OPENING),)))
        origins.insert(0, origins[0])
    if isinstance(turns[-1], AssistantTurn):
        log.add(
            "continue_added",
            origins[-1],
            "a short user line stands after the last assistant message",
        )
        turns.append(UserTurn(blocks=(Text(text=CONTINUE),)))
        origins.append(origins[-1])
    return Normal(normal.system, tuple(turns), tuple(origins))
