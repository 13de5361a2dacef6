"""Whether a running job has broken one of its limits. Standard library only.

Memory, processes and disk are looked at now and then, not enforced by the kernel: what is gained and lost
between two looks is not seen.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from agent_runner.execution import job_files, process_tree, usage
from agent_runner.execution.job_files import Spec
from agent_runner.execution.process_tree import Process

_LOOK_EVERY_S = 0.5
_PSS_EVERY_S = 5.0
_DISK_EVERY_S = 2.0
_DISK_SHARE = 20  # looking at the disk may take one part in so many of our time
_MIB = 1024 * 1024
_LOGS = (job_files.STDOUT, job_files.STDERR)  # bounded by their own limit


def now() -> float:
    """Seconds on a clock that nobody can set and that goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Verdict(NamedTuple):
    """Why a job must end: the `reason` of its `JobExit`, and a sentence."""

    reason: str
    message: str = ""


class LimitWatch:
    """Compares a job, which descends from the calling process, with its limits from this moment on."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.limits = spec.limits
        self.peak_memory = 0
        self.started = self.last_output = now()
        self.next_look = self.started + _LOOK_EVERY_S
        self._next_pss = self._next_disk = self.started
        self._disk_before = self._disk() if self.limits.disk_mb is not None else 0

    def next_deadline(self) -> float:
        """When to ask again, on the clock of `now`."""
        times = [self.next_look]
        if self.limits.time_s is not None:
            times.append(self.started + self.limits.time_s)
        if self.limits.no_output_s is not None:
            times.append(self.last_output + self.limits.no_output_s)
        return min(times)

    def by_clock(self) -> Verdict | None:
        """The limits that a look at the clock decides."""
        time_s, quiet_s = self.limits.time_s, self.limits.no_output_s
        if time_s is not None and now() >= self.started + time_s:
            return Verdict("timeout", f"still running after {time_s:g} s")
        if quiet_s is not None and now() >= self.last_output + quiet_s:
            return Verdict("no_output", f"nothing was printed for {quiet_s:g} s")
        return None

    def soft_deadline_has_come(self) -> bool:
        """Whether so little time is left that the program is to be told."""
        time_s, before_s = self.limits.time_s, self.limits.soft_deadline_s
        if time_s is None or before_s is None:
            return False
        return now() >= self.started + time_s - before_s

    def by_usage(self) -> Verdict | None:
        """The limits that need a look at the process tree and the disk."""
        self.next_look = now() + _LOOK_EVERY_S
        tree = process_tree.descendants(os.getpid())
        return self._processes(tree) or self._memory(tree) or self._disk_use()

    def _processes(self, tree: list[Process]) -> Verdict | None:
        limit = self.limits.processes
        if limit is None or len(tree) <= limit:
            return None
        return Verdict("processes", f"{len(tree)} processes, the limit is {limit}")

    def _memory(self, tree: list[Process]) -> Verdict | None:
        """Shared pages are counted once wherever that can change the answer, and now and then for the peak."""
        limit = None if self.limits.memory_mb is None else self.limits.memory_mb * _MIB
        used = usage.rss_bytes(tree)
        if len(tree) > 1:
            if (limit is None or used <= limit) and now() < self._next_pss:
                return None
            self._next_pss = now() + _PSS_EVERY_S
            used = usage.pss_bytes(tree)
        self.peak_memory = max(self.peak_memory, used)
        if limit is None or used <= limit:
            return None
        text = f"the process tree held {used // _MIB} MiB, the limit is {limit // _MIB} MiB"
        return Verdict("memory", text)

    def _disk_use(self) -> Verdict | None:
        limit = self.limits.disk_mb
        if limit is None or now() < self._next_disk:
            return None
        begun = now()
        grown = self._disk() - self._disk_before
        self._next_disk = now() + max(_DISK_EVERY_S, _DISK_SHARE * (now() - begun))
        if grown <= limit * _MIB:
            return None
        return Verdict("disk", f"{grown // _MIB} MiB were written, the limit is {limit} MiB")

    def _disk(self) -> int:
        """Space taken by the working directory, the record folder and the temporary one it links to."""
        folders = {self.spec.cwd, self.spec.record_dir}
        link = os.path.join(self.spec.record_dir, job_files.SCRATCH_LINK)
        if os.path.islink(link):
            folders.add(os.readlink(link))
        return usage.disk_bytes(folders, ignore=_LOGS)
