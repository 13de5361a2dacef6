"""What becomes of a proposal and of its run."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from agent_runner.records.base import Record


class Stage(StrEnum):
    """Where a proposal ended."""

    APPLY = "apply"
    VALIDATE = "validate"
    ADMIT = "admit"
    EXECUTE = "execute"
    DONE = "done"


class Outcome(StrEnum):
    """How a run ended. `killed` = by something other than the runner; `lost` = nobody saw its end."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    KILLED = "killed"
    LOST = "lost"
    NOT_STARTED = "not_started"


class Problem(Record):
    """Why a proposal went no further, or a warning beside one that did."""

    kind: str
    message: str
    path: str | None = None
    line: int | None = None
    block: int | None = None
    severity: Literal["error", "warning"] = "error"


class Location(Record):
    """The deepest frame in a file that the agent may edit (or the deepest of all, where none is).

    `locals` are its variables in a few words each, those that the line mentions first.
    """

    file: str
    line: int | None = None
    code: str | None = None
    function: str | None = None
    locals: dict[str, str] = Field(default_factory=dict)


class Cause(Record):
    """One exception of a chain, outermost effect first."""

    type: str
    message: str


class Failure(Record):
    """Why a run, or a check before it, failed: the cause, not a tail of its output."""

    kind: str
    exception_type: str | None = None
    message: str
    location: Location | None = None
    cause_chain: tuple[Cause, ...] = ()
    phase: str | None = None
    evidence: tuple[str, ...] = ()
    remedy: str = ""
    charged: bool = False
    charged_reason: str = ""


class Finding(Record):
    """Something a reader of the numbers must know."""

    severity: Literal["info", "warn", "fail"]
    code: str
    message: str


class MetricNoise(Record):
    """One metric of unchanged code under several seeds: its values, their mean and standard deviation."""

    values: tuple[float, ...]
    mean: float
    std: float  # of a sample: divided by n - 1


class Noise(Record):
    """How far the metrics of unchanged code scatter when nothing but the seeds moves.

    seeds: what was added to the seeds, 0 for the baseline itself; the values of each metric are in this order.
    problem: why there are fewer values than were asked for, or why they do not tell the noise. Where no metric
        moved at all the noise is not known, and the values stand only as what was seen.
    """

    seeds: tuple[int, ...] = ()
    metrics: dict[str, MetricNoise] = Field(default_factory=dict)
    problem: str | None = None


class MetricDifference(Record):
    """One metric beside the matched baseline's, and in units of noise; these are None where none was measured.

    noise: standard deviation of the difference of two runs of unchanged code: sqrt(2) times that of one.
    noise_units: difference / noise; None where the noise is zero.
    within_noise: whether two runs of unchanged code differ as much in at least 5 of 100 cases.
    """

    baseline: float
    value: float
    difference: float
    noise: float | None = None
    noise_units: float | None = None
    within_noise: bool | None = None


class Comparison(Record):
    """A run beside its baseline; only ever within one fingerprint.

    noise_problem: why noise is not known for metrics that differ; None where it is known for all of these.
    """

    baseline: str  # `run_0`, or `baseline <fingerprint>` for one that is not the idea's own
    fingerprint: str | None = None
    metrics: dict[str, MetricDifference] = Field(default_factory=dict)
    noise_problem: str | None = None


class ModelUse(Record):
    """Which language model was asked for, which one the run got, why, and what a person can do about it."""

    requested: str
    granted: str
    reason: str = ""
    remedy: str = ""


class Access(Record):
    """Whether a model or data set can be used on this machine now, why not, and what a person can do.

    status: `ready` (on this machine, and it fits), `downloadable` (the runner would fetch it first), or what is
        in the way. revision: the commit on the hub. download_bytes: of the files that are not here yet.
    memory_bytes: what running it takes, of the GPU's memory where there is one, else of the host's.
    """

    name: str
    kind: Literal["model", "dataset"] = "model"
    status: Literal[
        "ready",
        "downloadable",
        "gated",
        "forbidden",
        "not_found",
        "unreachable",
        "not_cached",
        "damaged",
        "needs_gpu",
        "too_large",
        "no_disk",
    ]
    reason: str = ""
    remedy: str = ""
    revision: str | None = None
    download_bytes: int | None = None
    memory_bytes: int | None = None

    @property
    def usable(self) -> bool:
        return self.status in ("ready", "downloadable")


class ResourceUse(Record):
    """What the whole process tree of a run used."""

    peak_memory_bytes: int | None = None
    gpu_seconds: float | None = None
    output_bytes: int = 0
    dropped_bytes: int = 0


class Sandbox(Record):
    """The isolation a run really had. `L0` is none: limits and a clean environment only."""

    level: str = "L0"
    digest: str | None = None


class RunResult(Record):
    """How one run ended and what it measured."""

    index: int
    outcome: Outcome
    returncode: int | None = None
    signal: str | None = None
    seconds: float = 0.0
    phase: str | None = None
    commit: str
    tree: str
    diff_stat: str = ""
    metrics: dict[str, float] = Field(default_factory=dict)
    comparison: Comparison | None = None
    noise: Noise | None = None  # of a baseline
    fingerprint: str | None = None  # runs of equal fingerprint can be compared
    findings: tuple[Finding, ...] = ()
    failure: Failure | None = None
    model: ModelUse | None = None
    resources: ResourceUse = ResourceUse()
    sandbox: Sandbox = Sandbox()
    environment: dict[str, Any] = Field(default_factory=dict)
