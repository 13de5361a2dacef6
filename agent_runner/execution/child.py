"""Starting the experiment's process behind a barrier. Standard library only.

The child is forked, made ready, and then waits for one word on a pipe before it becomes the experiment.
End of file (the shim has died) and any other word mean: do not start. So no experiment runs whose start is
not on disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import signal

from agent_runner.execution import process_tree
from agent_runner.execution.job_files import Spec

_WORD = b"go\n"
_EXIT_NOT_STARTED = 125
_OPEN_FILES = 4096
_OOM_SCORE = "500"  # short of memory, the kernel is to choose the experiment before its supervisors
_PIPE_BYTES = 1024 * 1024


class Child:
    """A process that waits to become the experiment. `stdout` and `stderr` are our ends of its pipes."""

    def __init__(self, spec: Spec) -> None:
        self.stdout, out = _output_pipe()
        self.stderr, err = _output_pipe()
        barrier, self._barrier = os.pipe()
        self._problem, problem = os.pipe()
        shim = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            # With its own copy of our end, the child would never see the barrier's end of file.
            os.close(self._barrier)
            _run(spec, shim, barrier, out, err, problem)
        for descriptor in (barrier, out, err, problem):
            os.close(descriptor)
        process = process_tree.find(self.pid)
        self.start = process.start if process else None

    def let_go(self) -> str:
        """Open the barrier. Returns why the program could not be started, or an empty text when it was."""
        with contextlib.suppress(BrokenPipeError):  # the child has given up; it says why
            os.write(self._barrier, _WORD)
        os.close(self._barrier)
        return self._read_problem()

    def give_up(self) -> None:
        """Have the child end without becoming the experiment."""
        os.close(self._barrier)
        self._read_problem()

    def _read_problem(self) -> str:
        parts = []
        while part := os.read(self._problem, 4096):
            parts.append(part)
        os.close(self._problem)
        return b"".join(parts).decode("utf-8", "replace")


def _output_pipe() -> tuple[int, int]:
    ours, theirs = os.pipe()
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return ours, theirs


def _run(spec: Spec, shim: int, barrier: int, out: int, err: int, problem: int) -> None:
    """The forked child. Never returns; says on `problem`, which a successful exec closes, what went wrong."""
    doing = "prepare the process"
    try:
        _detach_from(shim)
        _limit()
        for descriptor, standard in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
            os.dup2(descriptor, standard)
        doing = f"enter the working directory {spec.cwd}"
        os.chdir(spec.cwd)
        if _read_word(barrier) == _WORD:
            doing = f"start the program {spec.argv[0]}"
            os.execvpe(spec.argv[0], spec.argv, spec.env)
    except BaseException as error:  # nothing may escape into the shim's own code in this process
        reason = error.strerror if isinstance(error, OSError) and error.strerror else repr(error)
        os.write(problem, f"cannot {doing}: {reason}".encode("utf-8", "replace")[:4096])
    finally:
        os._exit(_EXIT_NOT_STARTED)


def _detach_from(shim: int) -> None:
    signal.set_wakeup_fd(-1)
    os.setsid()
    process_tree.die_with_parent()
    if os.getppid() != shim:  # it died before that took effect
        os._exit(_EXIT_NOT_STARTED)
    for number in signal.valid_signals():
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(_OOM_SCORE)


def _read_word(barrier: int) -> bytes:
    word = b""
    while len(word) < len(_WORD) and (part := os.read(barrier, len(_WORD) - len(word))):
        word += part
    return word
