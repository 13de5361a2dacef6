"""The job side: what a supervisor is told, and what a job leaves behind."""

from __future__ import annotations

from agent_runner.records.base import SCHEMA_VERSION, Record
from agent_runner.records.ideas import Limits
from agent_runner.records.results import Failure


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
