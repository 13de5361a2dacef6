"""The first program inside a sandbox: waits to be let go, starts the experiment, reports its exact end.

    python -I -S inside.py BARRIER STATUS UID PROCESSES FOLDER PROGRAM ARGUMENT...

BARRIER and STATUS are descriptors. On BARRIER the word `go` is waited for: end of file (the shim has died) and
any other word mean that nothing is started. On STATUS lines are written: `ready`, then `problem TEXT` or
`started`, then `ended STATUS` with the status as `waitpid` tells it, which bubblewrap itself would blur (an
exit code of 137 and a death by signal 9 look the same from outside). UID: the user to become, 0 to stay.
PROCESSES: how many processes that user may have, 0 for no limit. FOLDER: the working directory.

It imports as little as it can: its start is part of the start of every run.
"""

import _signal  # `signal` would import enum, which doubles the time that this program takes to start
import os
import resource
import sys

_EXIT_NOT_STARTED = 125
_IGNORED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")


def main(arguments: list[str]) -> int:
    """Run the program to its end. Its own end is nothing to go by; STATUS is."""
    barrier, status, user, processes = (int(text) for text in arguments[:4])
    folder, *program = arguments[4:]
    os.set_inheritable(barrier, False)
    os.set_inheritable(status, False)
    if user:
        # Three of each: with a saved one left behind, the way back would be open.
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    if processes:
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
    for name in _IGNORED:
        _signal.signal(getattr(_signal, name), _signal.SIG_IGN)
    os.chdir(folder)  # not before: it belongs to that user alone
    os.write(status, b"ready\n")
    if os.read(barrier, 16) != b"go\n":
        return _EXIT_NOT_STARTED
    problem, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(program, theirs)
    os.close(theirs)
    if text := os.read(problem, 4096):
        os.write(status, b"problem " + text.replace(b"\n", b" ") + b"\n")
        return _EXIT_NOT_STARTED
    os.write(status, b"started\n")
    _, ended = os.waitpid(pid, 0)
    os.write(status, b"ended %d\n" % ended)
    return 0


def _become(program: list[str], problem: int) -> None:
    """The forked child. Never returns; says on `problem`, which a successful exec closes, what went wrong."""
    for number in range(1, 65):
        try:
            _signal.signal(number, _signal.SIG_DFL)
        except (OSError, ValueError):
            continue  # SIGKILL, SIGSTOP and those of the C library
    try:
        os.execvp(program[0], program)
    except BaseException as error:  # nothing may escape into the waiting program's own code
        reason = error.strerror if isinstance(error, OSError) and error.strerror else repr(error)
        os.write(problem, f"cannot start the program {program[0]}: {reason}".encode()[:4000])
    finally:
        os._exit(_EXIT_NOT_STARTED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
