"""The process that supervises one job, outlives the server, and leaves the job's records behind.

    python -I -S shim.py RECORD_DIR/spec.json [LOCK_DESCRIPTOR]

It puts itself into the background; standard output closes when the start is decided. While it lives it holds a
lock on `RECORD_DIR/lock`: that, and nothing else, says that the job is going on. `exit.json` is to be believed
once the lock is free. SIGTERM, or a file `RECORD_DIR/cancel`, cancels the job.

Standard library only. Everything is imported at the start, so that an upgrade of the package in the middle of a
run cannot mix two versions.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import Any

if __name__ == "__main__":  # isolated (-I -S): nothing but the standard library is on the path
    # At its end: a name beside the package must never stand for one of the standard library.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from agent_runner.execution import job_files, process_tree, scratch
from agent_runner.execution.job_files import Spec
from agent_runner.execution.supervisor import Supervisor

_EXIT_ALREADY_SUPERVISED = 3
_RECORD_PATIENCE_S = (
    600.0  # how long to wait for space on a full disk before the record is given up
)


def main(arguments: list[str]) -> int:
    """Supervise the job of a `spec.json` to its end. Returns in a process of its own."""
    spec_path = os.path.abspath(arguments[0])
    spec = job_files.read_spec(spec_path)
    if len(arguments) > 1:
        os.set_inheritable(int(arguments[1]), False)
    else:
        try:
            job_files.take_lock(os.path.join(spec.record_dir, job_files.LOCK))
        except BlockingIOError:
            print(f"{spec.record_dir} is being supervised by another process", file=sys.stderr)
            return _EXIT_ALREADY_SUPERVISED
    _detach()
    supervise(spec)
    return 0


def _detach() -> None:
    """Go on as an orphan in a session of our own: no signal meant for the server reaches us."""
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def supervise(spec: Spec) -> None:
    """Run the job. Whatever happens, its tree is dead and its end recorded when this returns."""
    temporary = scratch.temporary_folder(spec.record_dir)
    subreaper = process_tree.become_subreaper()
    supervisor = Supervisor(spec)
    try:
        supervisor.start(subreaper=subreaper)
    except Exception as error:
        # The experiment was not let go: whatever the reason was, this is a true end of the job.
        _print_traceback()
        notes = [f"the start failed: {error}", *_clear_up(supervisor, temporary)]
        record = {"reason": "not_started", "message": "; ".join(notes)}
        with contextlib.suppress(OSError):  # whoever waits for us is told by the log as well
            job_files.write_durable(os.path.join(spec.record_dir, job_files.EXIT), record)
        return
    try:
        _announce()
        supervisor.watch()
        supervisor.end()
        record = supervisor.exit_record()
    except BaseException as error:  # a fault of ours: the tree must not outlive its supervisor
        _print_traceback()
        _kill_all()
        record = {"reason": "lost", "message": f"the supervisor failed: {error!r}"}
    notes = _clear_up(supervisor, temporary)
    scratch.make_durable(spec)
    record["message"] = "; ".join(filter(None, (str(record["message"]), *notes)))
    _record_end(spec, record)


def _clear_up(supervisor: Supervisor, temporary: str | None) -> list[str]:
    """Take over what the job left and remove what it was given; returns what went wrong."""
    notes = []
    try:
        supervisor.close()
    except OSError as error:
        notes.append(str(error))
    notes += scratch.collect(supervisor.spec)
    scratch.remove_temporary_folder(supervisor.spec.record_dir, temporary)
    return notes


def _print_traceback() -> None:
    """For the log of the shim; rarely needed, and slow to import."""
    import traceback

    traceback.print_exc()


def _announce() -> None:
    """Close standard output: whoever started us waits for that."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def _kill_all() -> None:
    while tree := process_tree.descendants(os.getpid()):
        for process in tree:
            process_tree.send(process, 9)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)


def _record_end(spec: Spec, record: dict[str, Any]) -> None:
    """Write `exit.json`; on a full disk, wait for space: an end that nobody recorded is a lost result."""
    path = os.path.join(spec.record_dir, job_files.EXIT)
    give_up = time.monotonic() + _RECORD_PATIENCE_S
    while True:
        try:
            return job_files.write_durable(path, record)
        except FileNotFoundError:  # somebody has removed the records; nobody waits for their end
            raise
        except OSError:
            if time.monotonic() > give_up:
                raise
            time.sleep(1.0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
