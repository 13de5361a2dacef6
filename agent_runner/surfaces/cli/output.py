"""Data on stdout, everything else on stderr; exit codes; one way to print each thing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

from pydantic import BaseModel
from rich.console import Console

from agent_runner.errors import AgentRunnerError, UsageError
from agent_runner.records import SCHEMA_VERSION, Observation, Outcome

_BUDGET_KINDS = {"budget_exhausted", "attempts_exhausted"}

data = Console(highlight=False, soft_wrap=True)
notes = Console(stderr=True, highlight=False, soft_wrap=True)


class Exit(IntEnum):
    """Exit codes, the same for every command."""

    OK = 0
    ERROR = 1
    USAGE = 2
    RUN_FAILED = 3
    REFUSED = 4
    BUDGET_EXHAUSTED = 5
    TIMED_OUT = 6
    CANCELLED = 130


def exit_code(observation: Observation) -> Exit:
    """What a proposal's Observation means to a shell script."""
    if not observation.accepted:
        kinds = {problem.kind for problem in observation.problems}
        unstarted = observation.run is not None and observation.run.outcome is Outcome.NOT_STARTED
        if unstarted or "not_started" in kinds:
            return Exit.RUN_FAILED
        return Exit.BUDGET_EXHAUSTED if kinds & _BUDGET_KINDS else Exit.REFUSED
    outcome = observation.run.outcome if observation.run else Outcome.LOST
    codes = {
        Outcome.SUCCEEDED: Exit.OK,
        Outcome.TIMED_OUT: Exit.TIMED_OUT,
        Outcome.CANCELLED: Exit.CANCELLED,
    }
    return codes.get(outcome, Exit.RUN_FAILED)


def print_json(value: BaseModel | dict[str, Any]) -> None:
    """One JSON document on stdout, with `schema_version`."""
    fields = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    document = {"schema_version": SCHEMA_VERSION, **fields}
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=True) + "\n")


def print_error(error: AgentRunnerError, *, as_json: bool) -> Exit:
    """An error of ours on stderr: what happened, and what to do next."""
    code = Exit.USAGE if isinstance(error, UsageError) else Exit.ERROR
    if as_json:
        document = {"code": error.code, "message": error.message, "remedy": error.remedy}
        sys.stderr.write(json.dumps({"schema_version": SCHEMA_VERSION, "error": document}) + "\n")
    else:
        notes.print(f"[red]error:[/red] {_plain(error.message)}")
        if error.remedy:
            notes.print(_plain(error.remedy))
    return code


def print_text(text: str) -> None:
    """Text as it is: never read as markup, never wrapped."""
    data.print(text, markup=False)


class Watch:
    """Shows people what is going on while they wait: a spinner on a terminal, else one line a step."""

    def __init__(self) -> None:
        self._status = notes.status("") if notes.is_terminal else None

    def __call__(self, label: str, detail: str) -> None:
        if self._status is not None:
            self._status.update(f"[bold]{_plain(label)}[/bold] {_plain(detail)}")
        else:
            notes.print(f"{label}: {detail}" if detail else label, markup=False)


@contextmanager
def watching() -> Iterator[Watch]:
    """A progress listener for the time of one command."""
    watch = Watch()
    if watch._status is None:
        yield watch
    else:
        with watch._status:
            yield watch


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
