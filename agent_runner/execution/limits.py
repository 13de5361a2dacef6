"""Whether a running job has broken one of its limits. Standard library only.

In a cgroup the kernel enforces memory and processes, and is asked what it did. Without one they are looked at
now and then, as the disk always is: what is gained and lost between two looks is not seen.
"""

from __future__ import annotations

import math
import os
import resource
import time
from typing import NamedTuple, Protocol

from agent_runner.execution import job_files, process_tree, usage
from agent_runner.execution.job_files import Limits, Spec
from agent_runner.execution.process_tree import Process
from agent_runner.execution.usage import Disk

MOST_FILES = 200_000  # files and folders that a job may make, whatever the size

_LOOK_EVERY_S = 0.5
_PSS_EVERY_S = 5.0
_DISK_SOONEST_S = 0.05  # between two looks at the disk while a job writes fast
_DISK_SHARE = 20  # looking at the disk may take one part in so many of our time
_MIB = 1024 * 1024
_FLOOR = 1024 * _MIB  # free space that is to be left to everybody else, or
_FLOOR_SHARE = 50  # one part in so many of the file system, whichever is less
_LAST_SHARE = 4  # when no more than one part in so many of the floor is left, nobody can go on
_OWN_PART = 64 * _MIB  # a job that wrote no more than this did not fill a file system
_OPEN_FILES = 4096
_MOST_PROCESSES = 4096  # threads included, for a job that declares no limit of them
_MOST_MEMORY = 0.9  # of the machine's, for a job that declares no limit of memory
_LOGS = (job_files.STDOUT, job_files.STDERR)  # bounded by their own limit


def now() -> float:
    """Seconds on a clock that nobody can set and that goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Verdict(NamedTuple):
    """Why a job must end: the `reason` of its `JobExit`, and a sentence."""

    reason: str
    message: str = ""


class JobCgroup(Protocol):
    """What is asked of the cgroup that holds a job, and nothing else (`cgroups.Cgroup`)."""

    def peak_memory_bytes(self) -> int: ...
    def oom_kills(self) -> int: ...
    def ran_out_of_memory(self) -> bool: ...
    def process_limit_hits(self) -> int: ...


def within_machine(limits: Limits) -> Limits:
    """The same, with a limit of processes and of memory where none is declared: no job takes the machine down.

    4096 processes, threads included, and nine tenths of the machine's memory; none where that is not known.
    """
    processes, memory_mb = limits.processes, limits.memory_mb
    machine = usage.machine_memory_bytes()
    if memory_mb is None and machine is not None:
        memory_mb = max(1, int(machine * _MOST_MEMORY) // _MIB)
    if processes is None:
        processes = _MOST_PROCESSES
    return limits._replace(processes=processes, memory_mb=memory_mb)


def resource_limits(limits: Limits, *, own_user: bool) -> list[tuple[int, tuple[int, int]]]:
    """The arguments of the `setrlimit` calls for a job's first process; no hard bound of ours is raised.

    A process that writes a file beyond the limit of disk gets SIGXFSZ, and in Python "File too large".

    Args:
        limits: those of the job.
        own_user: whether the job runs under a real uid that nothing else has. The limit of processes is the
            kernel's count for a whole uid, and says nothing about a job that shares one.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = [
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES, most),
    ]
    if limits.disk_mb is not None:
        size = limits.disk_mb * _MIB
        wanted.append((resource.RLIMIT_FSIZE, size, size))
    if own_user and limits.processes is not None:
        wanted.append((resource.RLIMIT_NPROC, limits.processes, limits.processes))
    return [(kind, _within(kind, soft, hard)) for kind, soft, hard in wanted]


def _within(kind: int, soft: int, hard: int) -> tuple[int, int]:
    """The two bounds, lowered to the hard bound that we have ourselves."""
    _, most = resource.getrlimit(kind)
    if most != resource.RLIM_INFINITY:
        hard = most if hard == resource.RLIM_INFINITY else min(hard, most)
    return (soft if hard == resource.RLIM_INFINITY else min(soft, hard)), hard


class LimitWatch:
    """Compares a job, which descends from the calling process, with its limits from this moment on.

    cgroup: one made for this job, with its limits of memory and processes, if there is one.
    wardens: pids of descendants that are not the job's but its sandbox's.
    """

    def __init__(
        self, spec: Spec, cgroup: JobCgroup | None = None, wardens: frozenset[int] = frozenset()
    ) -> None:
        self.spec = spec
        self._wardens = wardens
        self.limits = spec.limits
        self.started = self.last_output = now()
        self.next_look = self.started + _LOOK_EVERY_S
        self._cgroup = cgroup
        self._peak = self._oom_kills = self._refused = 0
        self._was_own_limit = False
        self._next_tree = self._next_pss = self._next_disk = self.started
        self._disk_before = self._disk_last = self._disk(None)
        self._disk_looked = self.started
        self._floor = self._free_floor()
        self._room = self._free() - self._floor  # that all may use before a job is ended for it

    # ------------------------------------------------------------ clock

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

    # ------------------------------------------------------------ usage

    def by_usage(self) -> Verdict | None:
        """The limits that need a look at the process tree or its cgroup, and at the disk."""
        verdict = None
        if now() >= self._next_tree:
            self._next_tree = now() + _LOOK_EVERY_S
            verdict = self._tree() if self._cgroup is None else self._by_cgroup()
        verdict = verdict or self._disk_use() or self._free_space()
        self.next_look = min(self._next_tree, self._next_disk)
        return verdict

    def by_kernel(self) -> Verdict | None:
        """For a job that has ended by itself with an error: the limit at which the kernel stopped it, if any.

        That is memory in its cgroup, the size of a file, or a file system that it has filled. One that others
        filled need not be why it failed. The cgroup's figures are kept from here on, also when it is removed.
        """
        if verdict := self._by_cgroup():
            return verdict
        grown, limit = self._measure(), self.limits.disk_mb
        # A file cannot grow beyond the limit: see `resource_limits`.
        if limit is not None and grown.bytes >= limit * _MIB:
            return _disk_verdict(grown, limit)
        full = self._free_space()
        return full if full is not None and full.reason == "disk" else None

    def _by_cgroup(self) -> Verdict | None:
        self._ask_kernel()
        if not self._oom_kills or not self._was_own_limit:
            return None
        killed = _count(self._oom_kills, "process")
        text = f"the kernel killed {killed} of it at the limit of {self.limits.memory_mb} MiB"
        return Verdict("memory", text)

    def _ask_kernel(self) -> None:
        """Counts only grow; that of a cgroup that is gone is 0."""
        if self._cgroup is None:
            return
        self._peak = max(self._peak, self._cgroup.peak_memory_bytes())
        self._oom_kills = max(self._oom_kills, self._cgroup.oom_kills())
        self._refused = max(self._refused, self._cgroup.process_limit_hits())
        self._was_own_limit = self._was_own_limit or self._cgroup.ran_out_of_memory()

    @property
    def peak_memory(self) -> int:
        """The most memory seen, in bytes: with a cgroup exact, and with the page cache it was charged for."""
        self._ask_kernel()
        return self._peak

    @property
    def oom_kills(self) -> int:
        """How many of its processes the kernel has killed for want of memory; 0 without a cgroup."""
        self._ask_kernel()
        return self._oom_kills

    @property
    def oom_own_limit(self) -> bool | None:
        """Whether these kills were at its own limit; None without a cgroup, or where there was no kill."""
        self._ask_kernel()
        if self._cgroup is None or not self._oom_kills:
            return None
        return self._was_own_limit

    @property
    def notes(self) -> list[str]:
        """What the kernel did at a limit without ending the job: sentences for its exit record."""
        self._ask_kernel()
        notes = []
        if self._refused:
            most = _count(self.limits.processes or 0, "process")
            text = f"fork was refused {_count(self._refused, 'time')} at the limit of {most}"
            notes.append(f"{text}, threads included")
        if self._oom_kills and not self._was_own_limit:
            killed = _count(self._oom_kills, "process")
            text = f"the kernel killed {killed} of it for want of memory elsewhere"
            notes.append(f"{text}, not at its limit")
        return notes

    def _tree(self) -> Verdict | None:
        tree = [p for p in process_tree.descendants(os.getpid()) if p.pid not in self._wardens]
        return self._processes(tree) or self._memory(tree)

    def _processes(self, tree: list[Process]) -> Verdict | None:
        """Threads count, as they do for the kernel."""
        limit = self.limits.processes
        if limit is None:
            return None
        threads = usage.threads(tree)
        if threads <= limit:
            return None
        have = _count(len(tree), "process")
        if threads > len(tree):
            have += f" with {threads} threads in all"
        return Verdict("processes", f"{have}, the limit is {limit}")

    def _memory(self, tree: list[Process]) -> Verdict | None:
        """Shared pages are counted once wherever that can change the answer, and now and then for the peak."""
        limit = None if self.limits.memory_mb is None else self.limits.memory_mb * _MIB
        used = usage.rss_bytes(tree)
        if len(tree) > 1:
            if (limit is None or used <= limit) and now() < self._next_pss:
                return None
            self._next_pss = now() + _PSS_EVERY_S
            used = usage.pss_bytes(tree)
        self._peak = max(self._peak, used)
        if limit is None or used <= limit:
            return None
        text = f"the process tree held {used // _MIB} MiB, the limit is {limit // _MIB} MiB"
        return Verdict("memory", text)

    # ------------------------------------------------------------ disk

    def _disk_use(self) -> Verdict | None:
        if now() < self._next_disk:
            return None
        grown, limit = self._measure(), self.limits.disk_mb
        if grown.entries > MOST_FILES:
            text = f"more than {MOST_FILES} files were made, the limit for every job"
            return Verdict("disk", text)
        if limit is None or grown.bytes <= limit * _MIB:
            return None
        return _disk_verdict(grown, limit)

    def _measure(self) -> Disk:
        """How much came since the start. The next look is due in half the time that is left to a limit."""
        begun, before = now(), self._disk_last
        self._disk_last = self._disk(self._disk_before.entries + MOST_FILES)
        cost = now() - begun
        soon = self._seconds_left(before, begun - self._disk_looked) / 2
        self._disk_looked = begun
        wait = max(_DISK_SOONEST_S, min(_LOOK_EVERY_S, soon))
        self._next_disk = now() + max(wait, _DISK_SHARE * cost)
        return self._grown()

    def _seconds_left(self, before: Disk, passed: float) -> float:
        """Until a limit of the disk is reached, at the speed since the look `before`, `passed` seconds ago."""
        last, grown = self._disk_last, self._grown()
        left = [(MOST_FILES - grown.entries, last.entries - before.entries)]
        if self.limits.disk_mb is not None:
            left.append((self.limits.disk_mb * _MIB - grown.bytes, last.bytes - before.bytes))
        times = (max(0, room) * passed / growth for room, growth in left if growth > 0)
        return min(times, default=math.inf)

    def _grown(self) -> Disk:
        """What came since the start, as of the last look."""
        then, last = self._disk_before, self._disk_last
        return Disk(last.bytes - then.bytes, last.entries - then.entries)

    def _disk(self, enough_entries: int | None) -> Disk:
        """What is in the working directory, the record folder and the temporary one it links to."""
        folders = {self.spec.cwd, self.spec.record_dir}
        link = os.path.join(self.spec.record_dir, job_files.SCRATCH_LINK)
        if os.path.islink(link):
            folders.add(os.readlink(link))
        return usage.disk_use(folders, _LOGS, enough_entries)

    def _free_space(self) -> Verdict | None:
        """Whether the file system of the records is nearly full, and this job is to be ended for it.

        Below the floor a job is ended that has written something. One that has not goes on until next to
        nothing is left; and without end where too little was left before it started.

        The reason is `disk` (its own doing) for a job that took more than half of the room above the floor
        that there was when it started, and no limit of disk was declared for it. A job within its declared
        limit took what it was promised, and one that took less is not alone to blame: `disk_full`.
        """
        free, floor = self._free(), self._floor
        wrote = self._grown().bytes
        is_writer = wrote > min(_OWN_PART, floor)
        nothing_left = free < floor // _LAST_SHARE and self._room >= 0
        if free >= floor or not (is_writer or nothing_left):
            return None
        text = (
            f"{free // _MIB} MiB are free where its records are, the floor is {floor // _MIB} MiB"
        )
        own_doing = is_writer and self.limits.disk_mb is None and 2 * wrote > self._room >= 0
        reason = "disk" if own_doing else "disk_full"
        return Verdict(reason, f"{text}; it wrote {wrote // _MIB} MiB")

    def _free_floor(self) -> int:
        system = usage.file_system(self.spec.record_dir)
        return 0 if system is None else min(_FLOOR, system.size // _FLOOR_SHARE)

    def _free(self) -> int:
        system = usage.file_system(self.spec.record_dir)
        return self._floor if system is None else system.free


def _disk_verdict(grown: Disk, limit_mb: int) -> Verdict:
    return Verdict("disk", f"{grown.bytes // _MIB} MiB were written, the limit is {limit_mb} MiB")


def _count(number: int, noun: str) -> str:
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number} {noun if number == 1 else plural}"
