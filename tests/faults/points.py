"""The named points in the order in which one proposal writes, at each of which the server can be killed.

A point is found by what is written (the file that is renamed into place, the statement, the program that is
started), and where that says too little by the name of a public method. A point whose name has vanished is
never reached, and its test says so.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy
from fault_homes import propose
from fault_processes import say

from agent_runner.records import Observation

Arm = Callable[[], None]


class Point(NamedTuple):
    """A moment to die at, and how far the proposal has come by then."""

    name: str
    arm: Arm
    begun: bool  # the ledger has the attempt
    reserved: bool  # ... and the reservation of its run


def die() -> None:
    """What happens at an armed point: SIGKILL, or a wait in which something else is done to the machine."""
    if _stay:
        say("reached")
        signal.pause()
    os.kill(os.getpid(), signal.SIGKILL)


_stay = False


def _file(name: str, when: str) -> Arm:
    """Before or after a file of that name gets its content: every write of ours ends with a rename."""

    def arm() -> None:
        rename = os.replace

        def wrapped(source: Any, target: Any, **options: Any) -> None:
            hit = os.path.basename(os.fspath(target)) == name
            if hit and when == "before":
                die()
            rename(source, target, **options)
            if hit:
                die()

        os.replace = wrapped  # type: ignore[assignment]

    return arm


def _statement(start: str) -> Arm:
    """In the open transaction, once a statement was executed and before it is committed."""

    def arm() -> None:
        def executed(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if statement.startswith(start):
                die()

        sqlalchemy.event.listen(sqlalchemy.Engine, "after_cursor_execute", executed)

    return arm


def _program(when: str, *words: str) -> Arm:
    """Before or after a program with these words in its command is started."""

    def arm() -> None:
        start = subprocess.Popen.__init__

        def wrapped(self: Any, command: Any, *arguments: Any, **options: Any) -> None:
            text = " ".join(map(str, command))
            hit = all(word in text for word in words)
            if hit and when == "before":
                die()
            start(self, command, *arguments, **options)
            if hit:
                die()

        subprocess.Popen.__init__ = wrapped  # type: ignore[method-assign,assignment]

    return arm


def _method(place: str, when: str) -> Arm:
    """Before or after `module:Class.method`; of one that waits, after it has an answer."""

    def arm() -> None:
        module, _, path = place.partition(":")
        owner_name, _, name = path.partition(".")
        owner = getattr(importlib.import_module(module), owner_name, None)
        original = getattr(owner, name, None)
        if original is None:
            raise AttributeError(
                f"{place} does not exist any more: tests/faults/points.py has to name what took its place"
            )

        def wrapped(*arguments: Any, **options: Any) -> Any:
            if when == "before":
                die()
            result = original(*arguments, **options)
            if result is not None or not name.startswith("wait"):
                die()
            return result

        setattr(owner, name, wrapped)

    return arm


_LEDGER = "agent_runner.ledger:Ledger"
_GIT = "agent_runner.worktrees:Repository"
_OBJECTS = "agent_runner.worktrees.objects:NewObjects"
_JOB = "agent_runner.executors.local"
_NEW, _BEGUN, _RESERVED = (False, False), (True, False), (True, True)

POINTS = {
    name: Point(name, arm, *state)
    for state, name, arm in (
        (_NEW, "before the attempt's row", _method(f"{_LEDGER}.begin_attempt", "before")),
        (_NEW, "in the transaction of the attempt's row", _statement("INSERT INTO attempts")),
        (_BEGUN, "after the attempt's row", _method(f"{_LEDGER}.begin_attempt", "after")),
        (_BEGUN, "after attempt.json", _file("attempt.json", "after")),
        (_BEGUN, "before reply.md", _file("reply.md", "before")),
        (_BEGUN, "after reply.md", _file("reply.md", "after")),
        (_BEGUN, "before the edit", _file("rate.txt", "before")),
        (_BEGUN, "after half the edit", _file("rate.txt", "after")),
        (_BEGUN, "after the edit", _file("mode.txt", "after")),
        (_BEGUN, "before the commit", _method(f"{_GIT}.commit_attempt", "before")),
        (_BEGUN, "before the commit's objects", _method(f"{_OBJECTS}.save", "before")),
        (_BEGUN, "before the branch moves", _program("before", "git", "update-ref")),
        (_BEGUN, "after the commit", _method(f"{_GIT}.commit_attempt", "after")),
        (_BEGUN, "before diff.patch", _file("diff.patch", "before")),
        (_BEGUN, "after diff.patch", _file("diff.patch", "after")),
        (_BEGUN, "before the reservation", _method(f"{_LEDGER}.reserve_run", "before")),
        (_BEGUN, "in the transaction of the reservation", _statement("INSERT INTO runs")),
        (_RESERVED, "after the reservation", _method(f"{_LEDGER}.reserve_run", "after")),
        (_RESERVED, "after the run's ref", _method(f"{_GIT}.set_run_ref", "after")),
        (_RESERVED, "before spec.json", _file("spec.json", "before")),
        (_RESERVED, "after spec.json", _file("spec.json", "after")),
        (_RESERVED, "before the supervisor", _program("before", "shim.py")),
        (_RESERVED, "after the supervisor was started", _program("after", "shim.py")),
        (_RESERVED, "after started.json was seen", _method(f"{_JOB}:LocalExecutor.start", "after")),
        (_RESERVED, "while the run goes on", _method(f"{_JOB}:LocalJob.wait", "before")),
        (_RESERVED, "after the run ended, unread", _method(f"{_JOB}:LocalJob.wait", "after")),
        (_RESERVED, "before final_info.json", _file("final_info.json", "before")),
        (_RESERVED, "before result.json", _file("result.json", "before")),
        (_RESERVED, "after result.json", _file("result.json", "after")),
        (_RESERVED, "in the transaction that settles the run", _statement("UPDATE runs")),
        (_RESERVED, "after the run is settled", _method(f"{_LEDGER}.settle_run", "after")),
        (_RESERVED, "in the transaction that settles the attempt", _statement("UPDATE attempts")),
        (_RESERVED, "after the attempt is settled", _method(f"{_LEDGER}.settle_attempt", "after")),
        (_RESERVED, "before history.json", _file("history.json", "before")),
        (_RESERVED, "after history.json", _file("history.json", "after")),
        (_RESERVED, "before observation.json", _file("observation.json", "before")),
        (_RESERVED, "after observation.json", _file("observation.json", "after")),
    )
}


def propose_and_die(home: Path, idea: str, text: str, key: str | None, point: str) -> Observation:
    """In a server process: a proposal that ends at a point by SIGKILL."""
    POINTS[point].arm()
    return propose(home, idea, text, key)


def propose_and_stay(home: Path, idea: str, text: str, point: str) -> Observation:
    """In a server process: a proposal that says "reached" at a point, and stays there."""
    global _stay
    _stay = True
    return propose_and_die(home, idea, text, None, point)
