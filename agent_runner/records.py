"""Frozen records: what the runner keeps, and what it says on every surface (the wire schema).

The JSON of a record is the same in Python, on the command line and over any server. Fields may be added;
none is renamed or removed without a new `SCHEMA_VERSION`. Times are ISO-8601 UTC, durations are seconds,
sizes are bytes unless the name says otherwise (`memory_mb`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1


class Record(BaseModel):
    """Base of all records: immutable; unknown fields of a newer version are ignored when read."""

    model_config = ConfigDict(frozen=True, extra="ignore")


# ---------------------------------------------------------------- templates and ideas


class Limits(Record):
    """What one run may use. `None` means: no limit of ours."""

    time_s: float = 3 * 3600.0
    no_output_s: float | None = None
    soft_deadline_s: float | None = None  # the script gets a signal this long before `time_s` ends
    memory_mb: int | None = None
    disk_mb: int | None = None
    output_bytes: int = (
        16 * 1024 * 1024
    )  # kept of each stream: half from its head, half from its tail
    processes: int | None = None


class Grants(Record):
    """What a run may reach beside its own folder. `gpus` may be a fraction of one."""

    gpus: float = Field(default=0, ge=0)
    network: bool = False


class SandboxRule(Record):
    """The least level of isolation that a template's runs must have."""

    require_level: Literal["L0", "L1", "L2", "L3"] = "L0"


class Step(Record):
    """A trusted command of the template beside its main one: `prepare`, `preflight` or `smoke`."""

    command: str
    env: dict[str, str] = Field(default_factory=dict)
    time_s: float = 300.0


class ModelSpec(Record):
    """A language model the template can use, in order of preference."""

    name: str
    dtype: str = "float32"
    parameters: int = 0  # count of weights; 0 = unknown
    path: str | None = None  # a folder inside the template, for a model that is shipped with it


class Template(Record):
    """A folder that keeps the contract `python experiment.py --out_dir=run_i` -> `run_i/final_info.json`."""

    name: str
    description: str = ""
    command: str = "python experiment.py --out_dir={out_dir}"
    editable: tuple[str, ...]
    locked: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    limits: Limits = Limits()
    resources: Grants = Grants()
    sandbox: SandboxRule = SandboxRule()
    prepare: Step | None = None
    preflight: Step | None = None
    smoke: Step | None = None
    models: tuple[ModelSpec, ...] = ()


class Idea(Record):
    """One research idea, in its own git worktree."""

    schema_version: int = SCHEMA_VERSION
    id: str
    title: str
    plan: str = ""
    template: Template
    base_commit: str  # the template as committed: what every diff "against baseline" refers to
    base_tree: str
    max_runs: int = 10
    sandbox: str = "auto"  # the level its runs are to have; `auto`: the highest that works
    created: str


# ---------------------------------------------------------------- what becomes of a proposal


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


class MetricDifference(Record):
    """One metric beside the matched baseline's. `noise_units` is None where no noise floor was measured."""

    baseline: float
    value: float
    difference: float
    noise_units: float | None = None


class Comparison(Record):
    """A run beside its baseline; only ever within one fingerprint."""

    baseline: str
    metrics: dict[str, MetricDifference] = Field(default_factory=dict)


class ModelUse(Record):
    """Which language model was asked for, which one the run got, and why."""

    requested: str
    granted: str
    reason: str = ""


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
    findings: tuple[Finding, ...] = ()
    failure: Failure | None = None
    model: ModelUse | None = None
    resources: ResourceUse = ResourceUse()
    sandbox: Sandbox = Sandbox()
    environment: dict[str, Any] = Field(default_factory=dict)


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


# ---------------------------------------------------------------- what the job side leaves behind


class JobExit(Record):
    """`exit.json` of a job: written by the shim after the whole process tree is dead.

    `reason` is why it ended: `exited` (by itself, any code or signal), or why the shim ended it (`timeout`,
    `no_output`, `memory`, `output`, `disk`, `disk_full`, `processes`, `cancelled`), or `not_started`. `disk`
    is for what the job itself wrote, `disk_full` for a file system that is full though it wrote no more than it
    may. `lost` is what a reader makes of a job without this file.
    """

    reason: str
    returncode: int | None = None
    signal: str | None = None
    seconds: float = 0.0
    peak_memory_bytes: int | None = None
    oom_kills: int = 0  # the kernel's own count of out-of-memory kills while the job ran
    oom_own_limit: bool | None = None  # whether these were at the job's own limit; None: not known
    level: str | None = None  # of isolation that it ran at
    sandbox_killed: bool = False  # from outside, so that its end was not seen
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    dropped_bytes: int = 0
    soft_deadline_sent: bool = False
    log_error: str | None = None  # why its output was not kept whole: `ENOSPC` or another errno
    message: str = ""


class LevelReport(Record):
    """Whether a level of isolation works on this machine, why not, and a digest of its rules."""

    level: str
    works: bool
    reason: str = ""
    digest: str | None = None


class Explanation(Record):
    """What `agent-runner explain` says of a run that is over, or of a saved log."""

    source: str
    exit: JobExit | None = None
    failure: Failure | None = None
    message: str


class Confinement(Record):
    """How far a job is shut in, and what it may reach beside its own folders: absolute paths of the host.

    `read` and `write` are shown to it at their own place, `hidden` are folders inside these that are not,
    `devices` are device nodes. Of each of `linked` it gets a private folder with links to what is in it, for
    libraries that cannot read a folder without writing lock files into it: `linked_folder` says where. `out`:
    where its results are written, if not where they are to be in the end. At L0 nothing of it is enforced.
    """

    level: str = "L0"
    digest: str | None = None  # of the level's rules
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    linked: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    out: str | None = None
    devices: tuple[str, ...] = ()
    network: bool = False


class JobSpec(Record):
    """What the shim is told (`spec.json`): one process to start, its limits, and where to keep its records."""

    schema_version: int = SCHEMA_VERSION
    job_id: str
    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    record_dir: str
    out_dir: str | None = None  # where its results are to be, for a command that writes any
    limits: Limits = Limits()
    confinement: Confinement = Confinement()
