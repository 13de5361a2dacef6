"""Jobs on this machine, each under a shim process that needs nobody."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent_runner.errors import ExecutorError
from agent_runner.execution import job_files, process_tree, scratch, shim
from agent_runner.execution.cgroups import Cgroup
from agent_runner.execution.process_tree import Process
from agent_runner.execution.streams import join
from agent_runner.paths import read_json, write_json
from agent_runner.records import JobExit, JobSpec

START_TIMEOUT_S = 30.0
_SWEEP_PATIENCE_S = 5.0
_FIRST_DELAY_S = 0.01
_LONGEST_DELAY_S = 0.2
# What the shim's own interpreter may need to be found and to start; nothing else of ours reaches it.
_SHIM_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH")
_JOB_FILES = (
    *(job_files.SPEC, job_files.STARTED, job_files.EXIT, job_files.CANCEL, job_files.SHIM_LOG),
    *(job_files.STDOUT, job_files.STDERR, job_files.TURNS, job_files.STACKS),
    *(job_files.EXCEPTION, job_files.EVENTS, job_files.JOB, job_files.BOX),
)


class LocalExecutor:
    """Starts each job under a shim of its own; both go on when this process ends."""

    name = "local"

    def __init__(self, python: str = sys.executable) -> None:
        self._python = python  # the shim's interpreter, not the experiment's

    def start(self, spec: JobSpec) -> LocalJob:
        """Start a job and return once its start, or why there is none, is on disk.

        Raises:
            ExecutorError: the folder has a job that goes on, or no shim could be started there.
        """
        folder = Path(spec.record_dir)
        job = LocalJob(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = self._lock(job)
        except OSError as error:
            raise _cannot_start(spec, f"its record folder cannot be used: {error}") from error
        try:
            _set_aside(folder)
            # Of a start that failed so early that there was nothing to set aside.
            (folder / job_files.CANCEL).unlink(missing_ok=True)
            write_json(folder / job_files.SPEC, spec)
            problem = self._spawn(folder, lock)
        except OSError as error:
            problem = str(error)
        finally:
            os.close(lock)  # the shim has its own
        if any((folder / name).exists() for name in (job_files.STARTED, job_files.EXIT)):
            return job
        job.cancel()  # should it be only late, it must not start any more
        raise _cannot_start(spec, problem or "its supervisor ended without a word")

    def attach(self, record_dir: Path) -> LocalJob:
        """The job whose records are in a folder, whoever started it."""
        return LocalJob(record_dir)

    def _lock(self, job: LocalJob) -> int:
        """Take the job's lock on behalf of its shim, so that it never seems to be free in between."""
        if not job.alive():
            job.poll()  # of a lost job, also what it left running goes
        try:
            return job_files.take_lock(str(job.record_dir / job_files.LOCK))
        except BlockingIOError as error:
            raise ExecutorError(
                f"a job is going on in {job.record_dir}",
                "Wait for its end or cancel it; every job needs a record folder of its own.",
            ) from error

    def _spawn(self, folder: Path, lock: int) -> str:
        """Run the shim until it has put itself into the background. Returns what it complained of."""
        command = [self._python, "-I", "-S", "-X", "utf8", shim.__file__]
        log = folder / job_files.SHIM_LOG
        with open(log, "ab", opener=_private) as errors:
            process = subprocess.Popen(
                [*command, str(folder.absolute() / job_files.SPEC), str(lock)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd="/",
                env={name: os.environ[name] for name in _SHIM_ENVIRONMENT if name in os.environ},
                pass_fds=(lock,),
                start_new_session=True,
            )
        try:
            process.communicate(timeout=START_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return f"its supervisor was not ready after {START_TIMEOUT_S:g} s"
        finally:
            assert process.stdout is not None
            process.stdout.close()
        return log.read_text(encoding="utf-8", errors="replace").strip()


class LocalJob:
    """A job as its record folder shows it."""

    def __init__(self, record_dir: Path) -> None:
        self.record_dir = record_dir.absolute()

    def alive(self) -> bool:
        """Whether its shim lives."""
        return job_files.is_locked(str(self._path(job_files.LOCK)))

    def poll(self) -> JobExit | None:
        """How the job ended, or None while it goes on.

        While the lock is held, `exit.json` is not looked at: the experiment could have written it. A shim that
        died without one leaves a job that is `lost`, or, before its start was on disk, `not_started`.

        Raises:
            ExecutorError: the record of its end is there, and cannot be read now.
        """
        if self.alive():
            return None
        ended = self._exit_record()
        if ended is not None:
            return ended
        if not self._path(job_files.STARTED).exists():
            return JobExit(
                reason="not_started", message="its supervisor ended before it was started"
            )
        return self._lost()

    def wait(self, timeout: float | None = None) -> JobExit | None:
        """Wait for the end, at most `timeout` seconds (None: for ever)."""
        deadline = None if timeout is None else time.monotonic() + timeout
        delay = _FIRST_DELAY_S
        shim_ended = select.poll()  # not `select`, which knows no descriptor above 1023
        with self._shim_descriptor() as descriptors:
            for descriptor in descriptors:
                shim_ended.register(descriptor, select.POLLIN)
            while (ended := self.poll()) is None:
                left = delay if deadline is None else min(delay, deadline - time.monotonic())
                if left <= 0:
                    return None
                # Wakes up at once when the shim ends.
                shim_ended.poll(1000 * left)
                delay = min(delay * 1.5, _LONGEST_DELAY_S)
        return ended

    def cancel(self) -> None:
        """Ask the shim to end the job; returns at once."""
        if self._path(job_files.EXIT).exists() and not self.alive():
            return
        with contextlib.suppress(FileNotFoundError):
            self._path(job_files.CANCEL).touch()
        process = self._shim()
        if process is not None:
            process_tree.send(process, signal.SIGTERM)

    # ------------------------------------------------------------ records

    def _path(self, name: str) -> Path:
        return self.record_dir / name

    def _started(self) -> dict[str, Any]:
        """The record of the start; empty where there is none of this boot."""
        try:
            record = read_json(self._path(job_files.STARTED))
        except (OSError, ValueError):
            return {}
        if not isinstance(record, dict) or record.get("boot_id") != process_tree.boot_id():
            return {}
        return record

    def _shim(self) -> Process | None:
        record = self._started()
        pid = record.get("shim_pid")
        process = process_tree.find(pid) if isinstance(pid, int) else None
        return process if process and process.start == record.get("shim_start") else None

    @contextlib.contextmanager
    def _shim_descriptor(self) -> Iterator[list[int]]:
        """A list with a descriptor that is readable once the shim has ended; empty where there is none."""
        process = self._shim()
        try:
            descriptor = os.pidfd_open(process.pid) if process else None
        except OSError:
            descriptor = None
        try:
            yield [] if descriptor is None else [descriptor]
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _exit_record(self) -> JobExit | None:
        try:
            record = read_json(self._path(job_files.EXIT))
            return None if record is None else JobExit.model_validate(record)
        except OSError as error:
            # The end is on record, and may be read the next time: nothing may be made of this.
            raise ExecutorError(
                f"the record of a job's end, {self._path(job_files.EXIT)}, cannot be read: {error}",
                "See to the disk and its permissions, then repeat: the run is over, and nothing of it is lost.",
            ) from error
        except (ValueError, ValidationError) as error:
            return JobExit(reason="lost", message=f"its {job_files.EXIT} cannot be read: {error}")

    def _lost(self) -> JobExit:
        """Clear up after a shim that was killed: end what still runs, complete the logs."""
        left = self._sweep()
        self._collect()
        message = "its supervisor was killed" if self._started() else "the machine was restarted"
        if left:
            message += f"; still running: process {', '.join(str(p.pid) for p in left)}"
        out, err = (self._join(name) for name in (job_files.STDOUT, job_files.STDERR))
        return JobExit(
            reason="lost",
            seconds=self._seconds_seen(),
            stdout_bytes=out[0],
            stderr_bytes=err[0],
            dropped_bytes=out[1] + err[1],
            message=message,
        )

    def _sweep(self) -> list[Process]:
        """Kill what is left in the job's cgroup or carries its mark; return what could not be killed."""
        record = self._started()
        if not record:
            return []
        cgroup = Cgroup.attach(record["cgroup"]) if record.get("cgroup") else None
        if cgroup is not None:
            cgroup.kill(_SWEEP_PATIENCE_S)
            with contextlib.suppress(OSError):  # what is stuck in the kernel is told below
                cgroup.remove()
        deadline = time.monotonic() + _SWEEP_PATIENCE_S
        mark = ("AGENT_RUNNER_RECORD_DIR", str(self.record_dir / job_files.JOB))
        while (left := process_tree.marked(*mark)) and time.monotonic() < deadline:
            for process in left:
                process_tree.send(process, signal.SIGKILL)
            time.sleep(_FIRST_DELAY_S)
        return left

    def _collect(self) -> None:
        """Take over what the job left, as its shim would have done."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            scratch.collect(job_files.read_spec(str(self._path(job_files.SPEC))))
        folder = str(self.record_dir)
        scratch.remove_temporary_folder(folder, scratch.temporary_folder(folder))

    def _join(self, name: str) -> tuple[int, int]:
        try:
            cap = job_files.read_spec(str(self._path(job_files.SPEC))).limits.output_bytes
            return join(str(self._path(name)), cap)
        except (OSError, ValueError, KeyError):
            return 0, 0

    def _seconds_seen(self) -> float:
        """From the start to the last sign of life in the logs."""
        try:
            begun = self._path(job_files.STARTED).stat().st_mtime
            logs = (job_files.STDOUT, job_files.STDERR)
            last = max(self._path(name).stat().st_mtime for name in logs)
        except OSError:
            return 0.0
        return round(max(0.0, last - begun), 3)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _set_aside(folder: Path) -> None:
    """Keep the records of an earlier job of this folder below `earlier-<n>`: a new one starts with none."""
    if not (folder / job_files.SPEC).exists():
        return
    number = sum(1 for _ in folder.glob("earlier-*")) + 1
    earlier = folder / f"earlier-{number}"
    earlier.mkdir()
    for name in _JOB_FILES:
        with contextlib.suppress(FileNotFoundError):
            (folder / name).rename(earlier / name)


def _cannot_start(spec: JobSpec, reason: str) -> ExecutorError:
    return ExecutorError(
        f"the job {spec.job_id} could not be started: {reason}",
        f"See that {spec.record_dir} can be written to and its disk is not full, and that "
        f"{sys.executable} runs; `agent-runner doctor` looks at the rest. Nothing was run.",
    )
