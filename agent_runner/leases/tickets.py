"""A request for slots as a file, from the wait to the end of its lease.

    tickets/<number>    JSON lines: the request; what it was given; that this is in use; the job it serves

A ticket lives as long as somebody holds its flock (the process that asked), or the shim of its job holds the
job's own `lock`. Both are the kernel's to end: a killed process has given back what it held. Lines are only
ever added, each by one write, so a ticket is whole at every moment. Nothing here needs to outlast a power cut,
which ends all holders.

All that adds or removes wants the caller to have the desk's lock.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_runner.execution import job_files
from agent_runner.leases.queueing import Demand, Request, Slots


@dataclass(frozen=True)
class Ticket:
    """A request and what became of it.

    slots: None while it waits. turn_before: when its idea had been served before it got them. in_use: its
    GPUs were looked at, so its job may be on them. job: the record folder of the job that it serves.
    pid, since: who asked, and when (seconds since 1970).
    """

    request: Request
    pid: int
    since: float
    slots: Slots | None = None
    turn_before: int | None = None
    in_use: bool = False
    job: str | None = None

    @property
    def who(self) -> str:
        """The idea and its job, `x run_3`: by the label, or else, once it is bound, by the record folder."""
        label = self.request.label
        if not label and self.job is not None:
            name = os.path.basename(self.job)
            label = f"run_{name}" if name.isdigit() else name
        return f"{self.request.holder} {label}".rstrip()

    def job_lives(self) -> bool:
        """Whether the shim of its job lives."""
        return self.job is not None and _is_locked(os.path.join(self.job, job_files.LOCK))


class Hold:
    """The end of a ticket that the process which asked has in its hands."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.number = int(path.name)
        self._descriptor = descriptor
        self._size = -1
        self._ticket: Ticket | None = None

    def look(self) -> Ticket:
        """The ticket as it is now. Cheap while it does not change."""
        size = os.fstat(self._descriptor).st_size
        if self._ticket is None or size != self._size:
            ticket = _parse(self.number, os.pread(self._descriptor, size, 0))
            assert ticket is not None  # its first line was written by this object's maker
            self._ticket, self._size = ticket, size
        return self._ticket

    def take_back(self) -> None:
        """Note that the ticket waits again, at its old place."""
        _write(self._descriptor, {"slots": None, "in_use": False})

    def note_in_use(self) -> None:
        """Note that its GPUs are its job's from now on."""
        _write(self._descriptor, {"in_use": True})

    def note_job(self, record_dir: str) -> None:
        """Note which job keeps the ticket alive from now on, beside this hold."""
        _write(self._descriptor, {"job": record_dir})

    def is_removed(self) -> bool:
        """Whether somebody removed the file, so that nobody else knows of this ticket."""
        return os.fstat(self._descriptor).st_nlink == 0

    def let_go(self) -> None:
        """Give up the flock, also where a forked child has inherited it."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)


def write_request(folder: Path, request: Request) -> Hold:
    """Make a ticket; `request.number` must be free."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / str(request.number)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        line = {
            "holder": request.holder,
            "label": request.label,
            "gpus": request.demand.gpus,
            "share": request.demand.share,
            "eligible": request.eligible,
            "cpu_slots": request.cpu_slots,
            "pid": os.getpid(),
            "since": time.time(),
        }
        _write(descriptor, line)
    except BaseException:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    return Hold(path, descriptor)


def give(folder: Path, number: int, slots: Slots, turn_before: int | None) -> None:
    """Note what a ticket was given, and when its idea had been served before that."""
    given = {"gpus": slots.gpus, "share": slots.share}
    descriptor = os.open(folder / str(number), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        _write(descriptor, {"slots": given, "turn_before": turn_before})
    finally:
        os.close(descriptor)


def living(folder: Path) -> list[Ticket]:
    """All tickets whose holder or job lives, by number. The others are removed."""
    found: list[Ticket] = []
    names = os.listdir(folder) if folder.is_dir() else []
    for number in sorted(int(name) for name in names if name.isdigit()):
        path = folder / str(number)
        ticket = _parse(number, path.read_bytes())
        # The job's lock is tried only where nobody holds the ticket: whoever tries a lock has it for an
        # instant, and the executor that is about to start the job must not find it taken.
        if _is_locked(str(path)) or (ticket is not None and ticket.job_lives()):
            if ticket is not None:
                found.append(ticket)
        else:
            path.unlink()
    return found


def _is_locked(path: str) -> bool:
    try:
        return job_files.is_locked(path)
    except NotADirectoryError:
        return False
    except OSError:
        return True  # nobody can tell: better one slot too few than one run too many


def _write(descriptor: int, values: dict[str, Any]) -> None:
    """Add a line. It begins with a line break too, should a broken one stand before it."""
    line = b"\n" + json.dumps(values).encode() + b"\n"
    if os.write(descriptor, line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _parse(number: int, data: bytes) -> Ticket | None:
    """Put the lines together; None where not even the request is whole."""
    values: dict[str, Any] = {}
    for line in data.splitlines():
        try:
            values |= json.loads(line)
        except ValueError:
            continue  # empty, or cut short by a full disk: as good as not written
    try:
        slots = values.get("slots")
        return Ticket(
            request=Request(
                number=number,
                holder=values["holder"],
                demand=Demand(values["gpus"], values["share"]),
                eligible=tuple(values["eligible"]),
                cpu_slots=values["cpu_slots"],
                label=values.get("label", ""),
            ),
            pid=values["pid"],
            since=values["since"],
            slots=Slots(tuple(slots["gpus"]), slots["share"]) if slots else None,
            turn_before=values.get("turn_before"),
            in_use=bool(values.get("in_use")),
            job=values.get("job"),
        )
    except (KeyError, TypeError):
        return None
