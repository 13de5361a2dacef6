"""What callers get, on every surface."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from agent_runner.records.base import SCHEMA_VERSION, Record
from agent_runner.records.ideas import Idea
from agent_runner.records.results import (
    Comparison,
    Failure,
    Finding,
    Outcome,
    Problem,
    RunResult,
    Stage,
)


class Budget(Record):
    """The run budget after this proposal, and whether this proposal was charged."""

    max_runs: int
    used: int
    left: int
    attempts_left: int
    charged: bool
    reason: str


class Observation(Record):
    """What the agent gets back for a proposal, on every surface."""

    schema_version: int = SCHEMA_VERSION
    idea: str
    attempt: int
    accepted: bool  # did a run start
    stage: Stage
    problems: tuple[Problem, ...] = ()
    run: RunResult | None = None
    budget: Budget
    message: str
    messages: tuple[dict[str, Any], ...] = ()
    links: dict[str, str | None] = Field(default_factory=dict)


class AttemptSummary(Record):
    """One line about a proposal. `stage` is None while it is being worked on."""

    attempt: int
    stage: Stage | None
    charged: bool | None
    reason: str
    run: int | None = None


class IdeaView(Record):
    """Everything about an idea except the texts of its proposals."""

    schema_version: int = SCHEMA_VERSION
    idea: Idea
    budget: Budget
    attempts: tuple[AttemptSummary, ...] = ()
    runs: tuple[RunResult, ...] = ()
    links: dict[str, str | None] = Field(default_factory=dict)


class SeedMove(Record):
    """A seed that was moved in a copy of the code: `value` stood on `line` of `file`."""

    file: str
    line: int
    value: int
    moved: int


class Verification(Record):
    """What a run measures with other seeds: numbers that were measured move, numbers that were written do not.

    verdict: `moves` (as measured numbers do), `hard_coded` (nothing moved at all), `doubtful` (see the
        findings), `undecided` (no seed could be moved, the environment is another one, or the repeat was
        cut short: the findings say why), `failed` (it did not run to its end).
    comparison: the run's metrics as `baseline`, those with the moved seeds as `value`.
    """

    schema_version: int = SCHEMA_VERSION
    idea: str
    run: int
    number: int
    offset: int
    seeds: tuple[SeedMove, ...] = ()
    verdict: Literal["moves", "hard_coded", "doubtful", "undecided", "failed"]
    outcome: Outcome
    seconds: float = 0.0
    comparison: Comparison | None = None
    findings: tuple[Finding, ...] = ()
    failure: Failure | None = None
    message: str
    links: dict[str, str | None] = Field(default_factory=dict)


class Reconciled(Record):
    """What was found of an idea that an earlier server left behind.

    settled, living: attempts that were settled, and whose run goes on or is still to be started. busy: somebody
    works on the idea. problem: why nothing could be done for it.
    """

    idea: str
    settled: tuple[int, ...] = ()
    living: tuple[int, ...] = ()
    busy: bool = False
    problem: str | None = None


class Cancellation(Record):
    """What became of a request to end an idea's proposal. `attempt` 0 is the baseline."""

    schema_version: int = SCHEMA_VERSION
    idea: str
    attempt: int | None = None
    asked: bool
    message: str
