"""Frozen records: what the runner keeps, and what it says on every surface (the wire schema).

The JSON of a record is the same in Python, on the command line and over any server. Fields may be added;
none is renamed or removed without a new `SCHEMA_VERSION`. Times are ISO-8601 UTC, durations are seconds,
sizes are bytes unless the name says otherwise (`memory_mb`).
"""

from agent_runner.records.answers import (
    AttemptSummary,
    Budget,
    Cancellation,
    IdeaView,
    Observation,
    Reconciled,
    SeedMove,
    Verification,
)
from agent_runner.records.base import (
    SCHEMA_VERSION,
    Record,
)
from agent_runner.records.ideas import (
    Grants,
    Idea,
    Limits,
    ModelSpec,
    NoiseStep,
    SandboxRule,
    Step,
    Template,
)
from agent_runner.records.jobs import (
    Confinement,
    Explanation,
    JobExit,
    JobSpec,
    LevelReport,
)
from agent_runner.records.results import (
    Access,
    Cause,
    Comparison,
    Failure,
    Finding,
    Location,
    MetricDifference,
    MetricNoise,
    ModelUse,
    Noise,
    Outcome,
    Problem,
    ResourceUse,
    RunResult,
    Sandbox,
    Stage,
)

__all__ = [
    "SCHEMA_VERSION",
    "Access",
    "AttemptSummary",
    "Budget",
    "Cancellation",
    "Cause",
    "Comparison",
    "Confinement",
    "Explanation",
    "Failure",
    "Finding",
    "Grants",
    "Idea",
    "IdeaView",
    "JobExit",
    "JobSpec",
    "LevelReport",
    "Limits",
    "Location",
    "MetricDifference",
    "MetricNoise",
    "ModelSpec",
    "ModelUse",
    "Noise",
    "NoiseStep",
    "Observation",
    "Outcome",
    "Problem",
    "Reconciled",
    "Record",
    "ResourceUse",
    "RunResult",
    "Sandbox",
    "SandboxRule",
    "SeedMove",
    "Stage",
    "Step",
    "Template",
    "Verification",
]
