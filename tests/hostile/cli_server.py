"""The command line, kept warm: forks once per command, so that 180 cases do not pay 180 imports.

Each command still runs in a process of its own, with this process's environment (which holds the planted
secrets), and through the same entry point as the installed script. One JSON request and one answer per line.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import pkgutil
import select
import signal
import sys


def _command(words: list[str], stdout: str, stderr: str) -> None:
    for number, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.closerange(3, 64)
    from agent_runner.surfaces.cli import main

    sys.argv = ["agent-runner", *words]
    sys.exit(main())


def plant_key(name: str, secret: str) -> None:
    """Put a secret into a session keyring of this process's own; silently not where there are no keyrings."""
    libc = ctypes.CDLL(None, use_errno=True)
    x86 = os.uname().machine == "x86_64"
    libc.syscall(
        ctypes.c_long(250 if x86 else 219), ctypes.c_long(1), None
    )  # KEYCTL_JOIN_SESSION_KEYRING
    data = secret.encode()
    number, ring = ctypes.c_long(248 if x86 else 217), ctypes.c_long(-3)
    key = libc.syscall(number, b"user", name.encode(), data, ctypes.c_long(len(data)), ring)
    if key > 0:  # readable by everyone who has the keyring: an experiment of another user, too
        chmod = ctypes.c_long(250 if x86 else 219)
        libc.syscall(chmod, ctypes.c_long(5), ctypes.c_long(key), ctypes.c_long(0x3F3F3F3F))


def preload() -> None:
    """Import the runner whole; what only runs inside of jobs stays out."""
    import agent_runner

    for module in pkgutil.walk_packages(agent_runner.__path__, "agent_runner."):
        if ".execution" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def ended(pid: int, seconds: float) -> int | None:
    """The exit code of a command; None of one that hung and was killed when its time was up."""
    pidfd = os.pidfd_open(pid)
    in_time = select.select([pidfd], [], [], seconds)[0]
    os.close(pidfd)
    if not in_time:
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if in_time else None


def serve() -> None:
    """Answer until end of file."""
    preload()
    sys.stdout.write(json.dumps({"ready": True}) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _command(request["words"], request["stdout"], request["stderr"])
        sys.stdout.write(json.dumps({"code": ended(pid, request["seconds"])}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    root, key_name, secret = sys.argv[1:]
    sys.argv = sys.argv[:1]
    sys.path.insert(0, root)
    plant_key(key_name, secret)
    serve()
