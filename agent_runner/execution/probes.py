"""The self-test of a sandbox, from inside: tries what must not work and what must. Standard library only.

    python -I -S probes.py SECRET OUTSIDE PORT SERVER START OUT_DIR

SECRET: a file that must not be readable. OUTSIDE: a folder that must not be writable. PORT: of a server on the
loopback of the host. SERVER: a process of the host, and START: when it was started, by which it is known from
another of that number. Prints a JSON object: for each probe an empty text when it is as it has to be, else what
was found. Nothing that is tried would do any harm if it worked.

Exits with 75 when the machine is short of something just now: that says nothing about the sandbox.
"""

import ctypes
import errno
import json
import os
import socket
import sys

_CLONE_NEWUSER = 0x10000000
_PTRACE_TRACEME = 0
_MS_REC_PRIVATE = 0x44000
_AF_VSOCK = 40
_SET_UID = 0o4700
SHORT_OF = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
EXIT_NOT_NOW = os.EX_TEMPFAIL


def main(
    secret: str, outside: str, port: str, server: str, start: str, out_dir: str
) -> dict[str, str]:
    """The answers, by the name of the probe."""
    libc = ctypes.CDLL(None, use_errno=True)
    status = _own_status()
    return {
        "secret files": _refused(lambda: open(secret, "rb").read()),
        "other folders": _refused(lambda: open(os.path.join(outside, "x"), "wb").close()),
        "system files": _refused(lambda: open("/usr/agent_runner-probe", "wb").close()),
        "server's environment": _refused(lambda: open(f"/proc/{server}/environ", "rb").read(1)),
        "kernel settings": _refused(lambda: open("/proc/sys/kernel/core_pattern", "r+b").close()),
        "network": _refused(lambda: socket.create_connection(("127.0.0.1", int(port)), 2).close()),
        "hypervisor sockets": _refused(
            lambda: socket.socket(_AF_VSOCK, socket.SOCK_STREAM).close()
        ),
        "capabilities": "" if int(status["CapEff"], 16) == 0 else f"has {status['CapEff']}",
        "new privileges": "" if status["NoNewPrivs"] == "1" else "can be gained",
        "system call filter": "" if status["Seccomp"] == "2" else "none",
        "mounting": _refused(lambda: _call(libc.mount, b"none", b"/", None, _MS_REC_PRIVATE, None)),
        "user namespaces": _refused(lambda: _call(libc.unshare, _CLONE_NEWUSER)),
        "tracing": _refused(lambda: _call(libc.ptrace, _PTRACE_TRACEME, 0, None, None)),
        "signals": _refused(lambda: _signal(server, start)),
        "set-uid programs": _refused(lambda: _make_set_uid(os.environ["HOME"])),
        "results": _works(lambda: _write_and_read(out_dir)),
        "home": _works(lambda: _write_and_read(os.environ["HOME"])),
        "temporary files": _works(lambda: _write_and_read(os.environ["TMPDIR"])),
        "records": _works(lambda: _write_and_read(os.environ["AGENT_RUNNER_RECORD_DIR"])),
        "shared memory": _works(lambda: _write_and_read("/dev/shm")),
        "devices": _works(lambda: open("/dev/null", "wb").write(os.urandom(8))),
    }


def _refused(attempt) -> str:  # type: ignore[no-untyped-def]
    try:
        attempt()
    except OSError as error:
        if error.errno in SHORT_OF:
            raise
        return "" if error.errno != errno.EINVAL else f"was not refused: {error}"
    return "can be reached"


def _works(attempt) -> str:  # type: ignore[no-untyped-def]
    try:
        attempt()
    except OSError as error:
        if error.errno in SHORT_OF:
            raise
        return str(error)
    return ""


def _call(function, *arguments) -> None:  # type: ignore[no-untyped-def]
    if function(*arguments) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _signal(server: str, start: str) -> None:
    """Ask whether a signal could be sent; in a process namespace of its own the number may be another's."""
    with open(f"/proc/{server}/stat", encoding="ascii", errors="replace") as file:
        if file.read().rpartition(")")[2].split()[19] != start:
            raise ProcessLookupError
    os.kill(int(server), 0)


def _make_set_uid(folder: str) -> None:
    path = os.path.join(folder, f"set-uid-{os.getpid()}")
    open(path, "wb").close()
    try:
        os.chmod(path, _SET_UID)
    finally:
        os.unlink(path)


def _write_and_read(folder: str) -> None:
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f"probe-{os.getpid()}")
    with open(path, "w+b") as file:
        file.write(b"probe")
        file.seek(0)
        assert file.read() == b"probe"
    os.unlink(path)


def _own_status() -> dict[str, str]:
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        fields = (line.split(":", 1) for line in file)
        return {name: value.strip() for name, value in fields}


if __name__ == "__main__":
    try:
        print(json.dumps(main(*sys.argv[1:])))
    except OSError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_NOT_NOW)
