"""One crash and what comes after it, compared with the test's own model of the idea."""

from __future__ import annotations

from fault_homes import Model, propose, reply
from fault_processes import Server, call
from points import Point, propose_and_die

# Points at which the reply is known to its sender only; nothing of it was acknowledged.
REPLY_NOT_YET_KEPT = {"after the attempt's row", "after attempt.json", "before reply.md"}


def repeat_after_crash(model: Model, point: Point, key: str) -> None:
    """The server dies at the point, and the client sends the same request under its key again."""
    text = reply(model.value, model.value + 1)
    _die(model, point, text, key)
    model.replies.append(text)
    model.value += 1
    observation = call(propose, model.home, model.idea, text, key)
    assert call(propose, model.home, model.idea, text, key) == observation
    assert observation.run is not None, observation.message
    assert observation.run.metrics == {"loss": float(model.value)}
    model.ran[model.value] += 1
    model.check()


def go_on_after_crash(model: Model, point: Point, key: str) -> None:
    """The server dies at the point, and the client goes on with another proposal."""
    lost = model.value + 1
    text = reply(model.value, lost)
    _die(model, point, text, key)
    if point.begun and point.name not in REPLY_NOT_YET_KEPT:
        model.replies.append(text)
    if point.reserved:  # what was reserved and never started gets its one start
        model.value = lost
        model.ran[lost] += 1
    text = reply(model.value, lost + 1)
    observation = call(propose, model.home, model.idea, text)
    model.replies.append(text)
    model.value = lost + 1
    model.ran[model.value] += 1
    assert observation.run is not None, observation.message
    assert observation.run.metrics == {"loss": float(model.value)}
    view = model.check()
    if point.begun:
        first = view.attempts[-2]
        assert (first.charged, first.run is not None) == (point.reserved, point.reserved)


def _die(model: Model, point: Point, text: str, key: str) -> None:
    server = Server(propose_and_die, model.home, model.idea, text, key, point.name)
    server.died_of_sigkill(point.name)
