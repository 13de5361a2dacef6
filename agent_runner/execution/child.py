"""Starting the experiment's process behind a barrier. Standard library only.

The child is forked, made ready, and then waits for one word on a pipe before it becomes the experiment.
End of file (the shim has died) and any other word mean: do not start. So no experiment runs whose start is
not on disk. Inside a sandbox it is `inside` that waits, and that tells how the experiment ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import signal
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from agent_runner.execution import bubblewrap, process_tree, scratch, seccomp, shutting_in
from agent_runner.execution.job_files import Spec
from agent_runner.execution.limits import resource_limits

_WORD = b"go\n"
_EXIT_NOT_STARTED = 125
_OOM_SCORE = "500"  # short of memory, the kernel is to choose the experiment before its supervisors
_PIPE_BYTES = 1024 * 1024
_SANDBOX_PATIENCE_S = 30.0
_LONGEST_LINE = 64  # of those that are read while the experiment runs


class Setting(NamedTuple):
    """What a child is started in. `enter` is called by the child itself, as soon as it is there."""

    user: int | None = None
    enter: Callable[[], None] = lambda: None


_PLAIN = Setting()


class Child:
    """A process that waits to become the experiment. `stdout` and `stderr` are our ends of its pipes.

    report: for a sandboxed one a descriptor on which `read_report` finds its exact end, else None.
    wardens: pids of the sandbox's own processes, which are not the experiment's.

    Raises:
        OSError, bubblewrap.Unavailable: nothing was started.
    """

    def __init__(self, spec: Spec, setting: Setting = _PLAIN) -> None:
        self._spec = spec
        self.stdout, out = _output_pipe()
        self.stderr, err = _output_pipe()
        barrier, self._barrier = os.pipe()
        self._problem, problem = os.pipe()
        self.report: int | None = None
        report: int | None = None
        if scratch.is_sandboxed(spec):
            self.report, report = os.pipe()
        self._said = b""
        self.status: int | None = None  # of the experiment, as `report` told it
        self.wardens: frozenset[int] = frozenset()
        command = list(spec.argv)
        files: list[int] = []
        if report is not None:
            files, command = _sandboxed(spec, setting.user, barrier, report)
        if setting.user is not None:  # for programs that open /dev/stdout by its name
            for end in (out, err):
                os.fchown(end, setting.user, -1)
        shim = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            # With its own copy of our end, the child would never see the barrier's end of file.
            os.close(self._barrier)
            kept = [barrier, report, *files] if report is not None else []
            _run(spec, setting, command, shim, _Ends(barrier, out, err, problem, kept))
        for descriptor in (barrier, out, err, problem, report, *files):
            if descriptor is not None:
                os.close(descriptor)
        process = process_tree.find(self.pid)
        self.start = process.start if process else None

    def wait_until_ready(self) -> str:
        """Wait until the sandbox stands. Returns why it does not, or an empty text."""
        if self.report is None:
            return ""
        line = self._next_line()
        problem = self._read_problem()
        if line != b"ready":
            return problem or _problem_in(line) or "the sandbox could not be set up"
        self.wardens = frozenset({self.pid, *(p.pid for p in process_tree.descendants(self.pid))})
        return ""

    def let_go(self) -> str:
        """Open the barrier. Returns why the program could not be started, or an empty text when it was."""
        with contextlib.suppress(BrokenPipeError):  # the child has given up; it says why
            os.write(self._barrier, _WORD)
        os.close(self._barrier)
        if self.report is None:
            return self._read_problem()
        line = self._next_line()
        if line == b"started":
            return ""
        return _problem_in(line) or "the sandbox ended before the program was started"

    def give_up(self) -> None:
        """Have the child end without becoming the experiment."""
        os.close(self._barrier)
        if self.report is None:
            self._read_problem()

    def read_report(self) -> bool:
        """Take in what has come on `report`; False at its end. A job of our own user could write there, too."""
        assert self.report is not None
        part = os.read(self.report, 4096)
        *lines, rest = (self._said + part).split(b"\n")
        self._said = rest[-_LONGEST_LINE:]
        for line in lines:
            if (status := _status_in(line)) is not None:
                self.status = status
        return bool(part)

    def _next_line(self) -> bytes:
        """The next line of the report; what there is of it when the sandbox has ended or hangs."""
        assert self.report is not None
        while b"\n" not in self._said:
            ready, _, _ = select.select([self.report], [], [], _SANDBOX_PATIENCE_S)
            part = os.read(self.report, 4096) if ready else b""
            if not part:
                return self._said
            self._said += part
        line, _, self._said = self._said.partition(b"\n")
        return line

    def _read_problem(self) -> str:
        parts = []
        while part := os.read(self._problem, 4096):
            parts.append(part)
        os.close(self._problem)
        return b"".join(parts).decode("utf-8", "replace")


class _Ends(NamedTuple):
    """The child's ends of the pipes; `kept` are the descriptors that the sandbox's own programs need."""

    barrier: int
    out: int
    err: int
    problem: int
    kept: list[int]


def _problem_in(line: bytes) -> str:
    """What `inside` says on its line, if it is a problem."""
    found = line.removeprefix(b"problem ")
    return "" if found == line else found.decode("utf-8", "replace")


def _status_in(line: bytes) -> int | None:
    """The status on the last line of `inside`: that of a process that has exited or was ended by a signal."""
    number = line.removeprefix(b"ended ")
    if number == line or not number.isdigit() or len(line) > _LONGEST_LINE:
        return None
    status = int(number)
    is_end = status <= 0xFFFF and (os.WIFEXITED(status) or os.WIFSIGNALED(status))
    return status if is_end else None


def _sandboxed(
    spec: Spec, user: int | None, barrier: int, report: int
) -> tuple[list[int], list[str]]:
    """Open what the sandbox is told by descriptor, and make its command line."""
    scratch.make_links(spec, scratch.view(spec).links)
    program = seccomp.as_file(seccomp.program())
    environment = bubblewrap.memory_file("environment", _as_block(spec.env))
    ends = bubblewrap.Ends(barrier, report, environment)
    command = bubblewrap.command(spec, user=user, seccomp=program, ends=ends)
    return [program, environment, *command.files], command.argv


def _as_block(environment: dict[str, str]) -> bytes:
    return b"\0".join(os.fsencode(f"{name}={value}") for name, value in environment.items())


def _output_pipe() -> tuple[int, int]:
    ours, theirs = os.pipe()
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return ours, theirs


def _run(spec: Spec, setting: Setting, command: list[str], shim: int, ends: _Ends) -> NoReturn:
    """The forked child. Says on `problem`, which a successful exec closes, what went wrong."""
    doing = "prepare the process"
    try:
        _detach_from(shim)
        setting.enter()
        _limit(spec)
        null = os.open(os.devnull, os.O_RDONLY)
        for descriptor, standard in ((null, 0), (ends.out, 1), (ends.err, 2)):
            os.dup2(descriptor, standard)
        if ends.kept:
            for descriptor in ends.kept:
                os.set_inheritable(descriptor, True)
            doing = f"start {command[0]}"
            os.execve(command[0], command, bubblewrap.environment(spec))
        doing = f"enter the working directory {spec.cwd}"
        os.chdir(spec.cwd)
        if _read_word(ends.barrier) == _WORD:
            doing = f"shut the process in (level {spec.confinement.level})"
            if spec.confinement.level == "L1":
                shutting_in.restrict(spec)
            doing = f"start the program {spec.argv[0]}"
            os.execvpe(spec.argv[0], spec.argv, spec.env)
    except BaseException as error:  # nothing may escape into the shim's own code in this process
        reason = error.strerror if isinstance(error, OSError) and error.strerror else repr(error)
        os.write(ends.problem, f"cannot {doing}: {reason}".encode("utf-8", "replace")[:4096])
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


def _limit(spec: Spec) -> None:
    for number, values in resource_limits(spec.limits, own_user=False):
        resource.setrlimit(number, values)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(_OOM_SCORE)


def _read_word(barrier: int) -> bytes:
    word = b""
    while len(word) < len(_WORD) and (part := os.read(barrier, len(_WORD) - len(word))):
        word += part
    return word
