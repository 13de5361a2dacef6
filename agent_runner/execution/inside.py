"""The first program inside a sandbox: waits to be let go, starts the experiment, reports its exact end.

    python -I -S inside.py BARRIER STATUS ENVIRONMENT UID PROCESSES FOLDER PROGRAM ARGUMENT...

BARRIER, STATUS and ENVIRONMENT are descriptors. On BARRIER the word `go` is waited for: end of file (the shim
has died) and any other word mean that nothing is started. On STATUS lines are written: `ready`, `started`, and
`ended STATUS` with the status as `waitpid` tells it, which bubblewrap itself would blur (an exit code of 137
and a death by signal 9 look the same from outside); or `problem TEXT` in place of what then does not come.
ENVIRONMENT is read: the program's, `NAME=VALUE` with a zero byte between two. It is not that of this program
and of bubblewrap, whose loader could be made by it to load the experiment's code with rights of theirs.
UID: the user to become, 0 to stay. PROCESSES: how many that user may have, 0 for no limit. FOLDER: the working
directory.

It imports as little as it can: its start is part of the start of every run.
"""

import _signal  # type: ignore[import-not-found]  # `signal` would import enum, which doubles the time that this program takes to start
import os
import sys

_EXIT_NOT_STARTED = 125
_IGNORED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")


def main(arguments: list[str]) -> int:
    """Run the program to its end. Its own end is nothing to go by; STATUS is."""
    barrier, status, source, user, processes = (int(text) for text in arguments[:5])
    folder, *program = arguments[5:]
    os.set_inheritable(barrier, False)
    os.set_inheritable(status, False)
    try:
        with open(source, "rb") as file:
            lines = filter(None, file.read().split(b"\0"))
            environment = {name: value for name, _, value in (x.partition(b"=") for x in lines)}
        _prepare(user, processes, folder)
    except OSError as error:
        _say_problem(status, f"cannot prepare the process: {error}".encode("utf-8", "replace"))
        return _EXIT_NOT_STARTED
    os.write(status, b"ready\n")
    if os.read(barrier, 16) != b"go\n":
        return _EXIT_NOT_STARTED
    problem, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(program, environment, theirs)
    os.close(theirs)
    if text := os.read(problem, 4096):
        _say_problem(status, text)
        return _EXIT_NOT_STARTED
    os.write(status, b"started\n")
    _, ended = os.waitpid(pid, 0)
    os.write(status, b"ended %d\n" % ended)
    return 0


def _prepare(user: int, processes: int, folder: str) -> None:
    if processes:
        import resource  # a file of its own to load, which most runs do without and others may not reach
    if user:
        # Three of each: with a saved one left behind, the way back would be open.
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        os.umask(0o022)  # what is kept of its files is for other jobs to read, whoever these run as
    if processes:
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
    for name in _IGNORED:
        _signal.signal(getattr(_signal, name), _signal.SIG_IGN)
    os.chdir(folder)  # not before: it belongs to that user alone


def _say_problem(status: int, text: bytes) -> None:
    os.write(status, b"problem " + text.replace(b"\n", b" ") + b"\n")


def _become(program: list[str], environment: dict[bytes, bytes], problem: int) -> None:
    """The forked child. Never returns; says on `problem`, which a successful exec closes, what went wrong."""
    for number in range(1, 65):
        try:
            _signal.signal(number, _signal.SIG_DFL)
        except (OSError, ValueError):
            continue  # SIGKILL, SIGSTOP and those of the C library
    try:
        os.execvpe(program[0], program, environment)
    except BaseException as error:  # nothing may escape into the waiting program's own code
        reason = error.strerror if isinstance(error, OSError) and error.strerror else repr(error)
        text = f"cannot start the program {program[0]}: {reason}"
        os.write(problem, text.encode("utf-8", "replace")[:4000])
    finally:
        os._exit(_EXIT_NOT_STARTED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
