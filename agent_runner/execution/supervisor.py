"""One job from its start to the death of its last process. Standard library only.

Order of writes: `started.json` is durable before the experiment starts; `exit.json` is durable, and the tree
dead, before the lock is let go.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import sys
import time
from typing import Any

from agent_runner.execution import bubblewrap, job_files, process_tree, scratch, usage
from agent_runner.execution.cgroups import Cgroup, name_for_job
from agent_runner.execution.child import Child, Setting
from agent_runner.execution.job_files import Spec
from agent_runner.execution.limits import LimitWatch, Verdict, now, within_machine
from agent_runner.execution.streams import CappedLog, LogSize, TurnLog

GRACE_S = 5.0  # between SIGTERM and SIGKILL for a job that is ended
LEFTOVER_GRACE_S = 0.5  # the same for what a job left running when it ended by itself
KILL_PATIENCE_S = 30.0  # how long to go on killing; what is left then is stuck in the kernel
STACK_DUMP_S = 0.5  # how long to wait for the hook's stack dump before SIGTERM
# Asks the hook for the stacks of all threads. A real-time signal: programs use SIGUSR1 and 2 themselves.
STACK_DUMP_SIGNAL = signal.SIGRTMIN + 7 if hasattr(signal, "SIGRTMIN") else None

_KILL_AGAIN_S = 0.005
_WARDENS = 3  # processes of a sandbox that are not the experiment's
_DRAIN_S = 1.0
_READ_BYTES = 256 * 1024
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Supervisor:
    """Runs one experiment: `start`, then `watch` and `end`, then `exit_record`. For a main thread only."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec._replace(limits=within_machine(spec.limits))
        self._verdict: Verdict | None = None  # why we ended it; None when it ended by itself
        self._notes: list[str] = []
        self._asked_to_stop = False
        self._running = False
        self._blind_end: int | None = None  # of bubblewrap, where it told nothing of the program's
        self._init_was_left = False  # by bubblewrap's outer process, for us to take leave of
        self._status: int | None = None  # of the main process, as waitpid tells it
        self._tree_is_dead = False
        self._largest_process = 0
        self._soft_deadline_sent = False
        self._cgroup: Cgroup | None = None
        self._cgroup_name: str | None = None
        self._oom_kills = usage.oom_kill_counter()
        self._oom_kills_before = self._oom_kills()
        self._wake = self._listen()

    def _listen(self) -> int:
        """A descriptor that is readable when a child has ended or we were asked to stop."""
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        os.set_blocking(theirs, False)
        signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_term)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        return ours

    def _on_term(self, *_: object) -> None:
        self._asked_to_stop = True

    # ------------------------------------------------------------ start

    def start(self, *, subreaper: bool) -> None:
        """Start the experiment, unless it was cancelled before or cannot be started: then `watch` ends at once.

        Raises:
            OSError, bubblewrap.Unavailable: the start could not be recorded, the job not be shut in as it
                has to be, or there is no process to be had; nothing was started.
        """
        cap = max(0, self.spec.limits.output_bytes)
        out, err = (CappedLog(self._path(n), cap) for n in (job_files.STDOUT, job_files.STDERR))
        self._turns = TurnLog(self._path(job_files.TURNS))
        setting = self._make_setting()
        self._child = Child(self.spec, setting)
        self._logs = {self._child.stdout: out, self._child.stderr: err}
        self._open = [self._wake, *self._logs]
        try:
            self._record_start(subreaper)  # while the sandbox is being set up
        except BaseException:
            self._child.give_up()
            self.close()
            raise
        problem = self._child.wait_until_ready()
        self._watch = LimitWatch(self.spec, self._cgroup, self._child.wardens)
        self._ended = self._watch.started
        if self._cancelled():
            self._child.give_up()
            self._verdict = Verdict("cancelled", "before it was started")
        elif problem := problem or self._child.let_go():
            self._verdict = Verdict("not_started", problem)
        else:
            self._running = True
            if self._child.report is not None:
                self._open.append(self._child.report)

    def _make_setting(self) -> Setting:
        """The user and the cgroup that the job's level asks for, and its folders."""
        level = self.spec.confinement.level
        user = bubblewrap.own_user() if scratch.is_sandboxed(self.spec) else None
        scratch.prepare(self.spec, user)
        if level != "L3":
            return Setting(user)
        limits = self.spec.limits
        memory = None if limits.memory_mb is None else limits.memory_mb * 1024 * 1024
        name = name_for_job()
        processes = None if limits.processes is None else limits.processes + _WARDENS
        self._cgroup = Cgroup.create(name, memory_bytes=memory, processes=processes)
        self._cgroup_name = name
        return Setting(user, self._cgroup.enter)

    def _record_start(self, subreaper: bool) -> None:
        shim = process_tree.find(os.getpid())
        record = {
            "schema_version": 1,
            "job_id": self.spec.job_id,
            "shim_pid": os.getpid(),
            "shim_start": shim.start if shim else None,
            "child_pid": self._child.pid,
            "child_start": self._child.start,
            "boot_id": process_tree.boot_id(),
            "subreaper": subreaper,
            "level": self.spec.confinement.level,
            "digest": self.spec.confinement.digest,
            "cgroup": self._cgroup_name if self._cgroup else None,
            "time": _utc(),
        }
        job_files.write_durable(self._path(job_files.STARTED), record)

    # ------------------------------------------------------------ while it runs

    def watch(self) -> None:
        """Return when the main process has ended, or when the job must be ended."""
        while self._status is None and self._verdict is None:
            self._pump(self._watch.next_deadline() - now())
            if self._status is None:
                self._verdict = self._judge()

    def _judge(self) -> Verdict | None:
        if self._asked_to_stop:
            return Verdict("cancelled")
        if verdict := self._watch.by_clock():
            return verdict
        if now() < self._watch.next_look:
            return None
        if self._cancelled():
            return Verdict("cancelled")
        self._tell_of_deadline()
        return self._watch.by_usage()

    def _cancelled(self) -> bool:
        return self._asked_to_stop or os.path.exists(self._path(job_files.CANCEL))

    def _tell_of_deadline(self) -> None:
        """SIGUSR1 near the end of the time, and only to a program that handles it: any other it would kill."""
        if not self._soft_deadline_sent and self._watch.soft_deadline_has_come():
            sent = process_tree.send_to_outermost(os.getpid(), signal.SIGUSR1)
            self._soft_deadline_sent = sent > 0

    # ------------------------------------------------------------ events

    def _pump(self, timeout: float) -> None:
        """Wait for output or the end of a child, at most `timeout` seconds, and take in what has come."""
        ready, _, _ = select.select(self._open, [], [], max(0.0, timeout))
        for descriptor in ready:
            if descriptor == self._wake:
                with contextlib.suppress(BlockingIOError):
                    os.read(descriptor, 4096)
            elif descriptor == self._child.report:
                if not self._child.read_report():
                    self._open.remove(descriptor)
            elif data := os.read(descriptor, _READ_BYTES):
                self._take(descriptor, data)
            else:
                self._open.remove(descriptor)
        self._reap()

    def _take(self, descriptor: int, data: bytes) -> None:
        self._watch.last_output = now()
        self._logs[descriptor].write(data)
        name = "stdout" if descriptor == self._child.stdout else "stderr"
        self._turns.add(self._watch.last_output - self._watch.started, name, len(data))

    def _reap(self) -> None:
        """Take leave of every child that has ended, also adopted ones.

        No child left means no descendant left: an orphan becomes our child in the moment its parent ends.
        """
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                self._tree_is_dead = True
                return
            if pid == 0:
                return
            self._largest_process = max(self._largest_process, used.ru_maxrss * _MAXRSS_UNIT)
            self._init_was_left |= pid in self._child.wardens - {self._child.pid}
            if pid == self._child.pid:
                self._status = status
                self._ended = now()
                self._hear_the_last()

    def _hear_the_last(self) -> None:
        """The sandbox has ended: the experiment's own end is what it reported, if it still could."""
        report, outer = self._child.report, self._status
        if report is None:
            return
        if report in self._open:
            while select.select([report], [], [], 0)[0] and self._child.read_report():
                pass
            self._open.remove(report)
        self._status = signal.SIGKILL if self._child.status is None else self._child.status
        if self._child.status is None and self._running:
            self._blind_end = outer

    # ------------------------------------------------------------ end

    def end(self) -> None:
        """End whatever is left of the tree, and take in the rest of its output."""
        if self._status is None:
            self._ended = now()
        elif self._status != 0 and self._verdict is None:
            self._verdict = self._watch.by_kernel()  # it may have been killed at a limit
        if self._verdict is not None:
            self._dump_stacks()
        self._end_tree(GRACE_S if self._verdict else LEFTOVER_GRACE_S)
        self._drain()

    def close(self) -> None:
        """Remove the job's cgroup; its counts are gone with it."""
        if self._cgroup is not None:
            self._cgroup.kill()
            self._cgroup.remove()
            self._cgroup = None

    def _dump_stacks(self) -> None:
        """Have the hook write where the program is: the answer to "at which line did it hang"."""
        stacks = self._path(os.path.join(job_files.JOB, job_files.STACKS))
        before = last = _size(stacks)
        if STACK_DUMP_SIGNAL is None:
            return
        if not process_tree.send_to_outermost(os.getpid(), STACK_DUMP_SIGNAL):
            return
        deadline = now() + STACK_DUMP_S
        while now() < deadline:
            self._pump(STACK_DUMP_S / 20)
            size = _size(stacks)
            if size > before and size == last:
                return
            last = size

    def _end_tree(self, grace: float) -> None:
        self._reap()
        if self._tree_is_dead:
            return
        self._signal_tree(signal.SIGTERM)
        self._signal_tree(signal.SIGCONT)  # a stopped process cannot act on anything else
        deadline = now() + grace
        while not self._tree_is_dead and now() < deadline:
            self._pump(deadline - now())
        deadline = now() + KILL_PATIENCE_S
        while not self._tree_is_dead and now() < deadline:
            if self._cgroup is not None:
                self._cgroup.kill(_KILL_AGAIN_S)
            self._signal_tree(signal.SIGKILL)
            self._pump(_KILL_AGAIN_S)
        if not self._tree_is_dead:
            pids = ", ".join(str(p.pid) for p in process_tree.descendants(os.getpid()))
            self._notes.append(f"stuck in the kernel, SIGKILL has not ended it: process {pids}")

    def _signal_tree(self, number: int) -> None:
        """Signal the whole tree; but for SIGKILL not the sandbox's own processes, whose end is everybody's."""
        tree = process_tree.descendants(os.getpid())
        for process in tree:
            if number == signal.SIGKILL or process.pid not in self._child.wardens:
                process_tree.send(process, number)
        if not tree and self._status is None:  # no /proc: the group is all we know
            with contextlib.suppress(OSError):
                os.killpg(self._child.pid, number)

    def _drain(self) -> None:
        """Read what is left in the pipes. Nobody of the tree holds them any more; a stranger might."""
        deadline = now() + _DRAIN_S
        progress = None
        while any(log in self._open for log in self._logs) and now() < deadline:
            self._pump(0)
            said = (len(self._open), *(log.total for log in self._logs.values()))
            if said == progress:
                return
            progress = said

    # ------------------------------------------------------------ record

    def exit_record(self) -> dict[str, Any]:
        """The fields of `JobExit`, and beside them whether the soft deadline was told, and the time."""
        self._turns.close()
        sizes = [self._close(log) for log in self._logs.values()]
        verdict = self._verdict or Verdict("exited")
        if self._blind_end is not None:
            who = "from outside" if self._sandbox_was_killed() else "from inside it"
            self._notes.append(f"the sandbox was killed before the program had ended, {who}")
        if verdict.reason == "not_started" and self._child.report is not None:
            self._notes.append(_beginning(self._path(job_files.STDERR)))
        if self._soft_deadline_sent:
            before = f"{self.spec.limits.soft_deadline_s:g} s"
            self._notes.append(f"SIGUSR1 was sent {before} before the end of its time")
        code = None
        if self._running and self._status is not None:
            code = os.waitstatus_to_exitcode(self._status)
        return {
            "schema_version": 1,
            "reason": verdict.reason,
            "returncode": code,
            "signal": signal_name(-code) if code is not None and code < 0 else None,
            "seconds": round(self._ended - self._watch.started, 3) if self._running else 0.0,
            "peak_memory_bytes": max(self._watch.peak_memory, self._largest_process) or None,
            "oom_kills": self._count_oom_kills(),
            "oom_own_limit": self._watch.oom_own_limit,
            "level": self.spec.confinement.level,
            "sandbox_killed": self._sandbox_was_killed(),
            "stdout_bytes": sizes[0].total,
            "stderr_bytes": sizes[1].total,
            "dropped_bytes": sizes[0].dropped + sizes[1].dropped,
            "message": "; ".join(filter(None, (verdict.message, *self._notes, *self._watch.notes))),
            "soft_deadline_sent": self._soft_deadline_sent,
            "log_error": self._log_error(),
            "time": _utc(),
        }

    def _sandbox_was_killed(self) -> bool:
        """Whether its end was not seen because the sandbox was killed from outside.

        The program can end `inside`, but not bubblewrap's outer process or its first one inside. Where `inside`
        went, the outer one leaves us the first one, which it would have reaped had that been killed.
        """
        end = self._blind_end
        return end is not None and (os.WIFSIGNALED(end) or not self._init_was_left)

    def _log_error(self) -> str | None:
        """Why a log could not be written, as the name of an errno."""
        errors = (log.error for log in self._logs.values() if log.error is not None)
        return next((errno.errorcode.get(e.errno or 0, "EIO") for e in errors), None)

    def _count_oom_kills(self) -> int:
        if self._cgroup is not None:
            return self._watch.oom_kills
        return max(0, self._oom_kills() - self._oom_kills_before)

    def _close(self, log: CappedLog) -> LogSize:
        size = log.close()
        if log.error is not None:
            self._notes.append(
                f"{os.path.basename(log.path)} is not complete: {log.error.strerror}"
            )
        return size

    def _path(self, name: str) -> str:
        return os.path.join(self.spec.record_dir, name)


def signal_name(number: int) -> str:
    """`SIGKILL` for 9; `signal 40` for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _beginning(path: str) -> str:
    """What a sandbox that could not be set up has complained of."""
    try:
        with open(path, "rb") as file:
            return file.read(500).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _utc() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
