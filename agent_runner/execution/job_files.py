"""The files of a record folder as the shim and its clients share them. Standard library only."""

from __future__ import annotations

import fcntl
import json
import os
from typing import Any, NamedTuple

SPEC = "spec.json"
STARTED = "started.json"
EXIT = "exit.json"
LOCK = "lock"
CANCEL = "cancel"
STDOUT = "stdout.log"
STDERR = "stderr.log"
TURNS = "turns.log"  # in which order the two streams spoke: see `streams`
STACKS = "faulthandler.log"
EXCEPTION = "exception.json"
EVENTS = "events.jsonl"
SHIM_LOG = "shim.log"
JOB = "job"  # the one folder of the record folder that the job itself may write to
BOX = "box"  # the job's private folders: see `scratch`
SCRATCH_LINK = "tmp"  # to the job's TMPDIR, which needs a short path: see `environment`
SCRATCH_PREFIX = "agent_runner-"


class Limits(NamedTuple):
    """What a job may use, as in `records.Limits`. None: no limit."""

    time_s: float | None = None
    no_output_s: float | None = None
    soft_deadline_s: float | None = None
    memory_mb: int | None = None
    disk_mb: int | None = None
    output_bytes: int = 16 * 1024 * 1024
    processes: int | None = None


class Confinement(NamedTuple):
    """How far a job is shut in, and what it may reach, as in `records.Confinement`."""

    level: str = "L0"
    digest: str | None = None
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    linked: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    out: str | None = None
    devices: tuple[str, ...] = ()
    network: bool = False


class Spec(NamedTuple):
    """What the shim is told, as in `records.JobSpec`."""

    job_id: str
    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str]
    record_dir: str
    limits: Limits
    out_dir: str | None = None
    confinement: Confinement = Confinement()


def read_spec(path: str) -> Spec:
    """Read `spec.json`. Limits of a newer version that are not known here are ignored.

    Raises:
        OSError, ValueError, KeyError: there is no such file, or it is not a job.
    """
    with open(path, "rb") as file:
        values = json.load(file)
    limits = {name: v for name, v in values.get("limits", {}).items() if name in Limits._fields}
    shut_in = values.get("confinement", {})
    return Spec(
        job_id=values["job_id"],
        argv=tuple(values["argv"]),
        cwd=values["cwd"],
        env=dict(values["env"]),
        record_dir=values["record_dir"],
        limits=Limits(**limits),
        out_dir=values.get("out_dir"),
        confinement=Confinement(**{n: v for n, v in shut_in.items() if n in Confinement._fields}),
    )


def write_durable(path: str, value: dict[str, Any]) -> None:
    """Write JSON so that a reader sees all of it or nothing, also after a power cut.

    `paths.write_atomic` does the same for the server, and is out of the shim's reach: it needs pydantic.
    """
    aside = f"{path}.{os.getpid()}.aside"
    try:
        with open(aside, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        if os.path.exists(aside):
            os.unlink(aside)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def take_lock(path: str) -> int:
    """Lock a job's `lock` file and return the descriptor; the kernel frees it when its holders are dead.

    Raises:
        BlockingIOError: somebody else supervises this job.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_locked(path: str) -> bool:
    """Whether somebody holds this lock: of a job, its shim."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
