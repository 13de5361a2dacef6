"""Confining the calling process to named paths by Landlock. Standard library only, Linux 5.13 or later.

Works without any privilege and needs no mounts, which makes it the means where user namespaces are forbidden.
What it does not hide or stop, whatever the paths: that a file exists and its metadata (stat), chmod, chown and
utime of files that one owns, files that were open before, the list of processes, UDP, and (before ABI 9)
connecting to a socket that another process has bound to a path. `seccomp.program(network=False)` stops UDP.
Before ABI 3 any file that one may write can still be emptied by truncate(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys
from collections.abc import Sequence

from agent_runner.execution import privileges

# The same numbers on every machine (asm-generic/unistd.h).
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_RULE_PATH_BENEATH = 1

# Rights of linux/landlock.h, and since which ABI the kernel knows them.
_EXECUTE = 1 << 0
_WRITE_FILE = 1 << 1
_READ_FILE = 1 << 2
_READ_DIR = 1 << 3
_REMOVE_DIR = 1 << 4
_REMOVE_FILE = 1 << 5
_MAKE_CHAR = 1 << 6
_MAKE_DIR = 1 << 7
_MAKE_REG = 1 << 8
_MAKE_SOCK = 1 << 9
_MAKE_FIFO = 1 << 10
_MAKE_BLOCK = 1 << 11
_MAKE_SYM = 1 << 12
_REFER = 1 << 13
_TRUNCATE = 1 << 14
_IOCTL_DEV = 1 << 15
_RESOLVE_UNIX = 1 << 16
_FIRST_RIGHTS = (1 << 13) - 1
_SINCE = {2: _REFER, 3: _TRUNCATE, 5: _IOCTL_DEV, 9: _RESOLVE_UNIX}

_READ = _EXECUTE | _READ_FILE | _READ_DIR
# Without device nodes: those are for `devices` to give.
_CHANGE = (
    _WRITE_FILE
    | _TRUNCATE
    | _REMOVE_DIR
    | _REMOVE_FILE
    | _MAKE_DIR
    | _MAKE_REG
    | _MAKE_SOCK
    | _MAKE_FIFO
    | _MAKE_SYM
    | _REFER
    | _RESOLVE_UNIX
)
_DEVICE = _READ_FILE | _WRITE_FILE | _READ_DIR | _IOCTL_DEV
_FOR_FILES = _EXECUTE | _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV | _RESOLVE_UNIX

_TCP = 0b11  # bind, connect
_TCP_SINCE = 4
_SCOPE = 0b11  # abstract unix sockets, signals
_SCOPE_SINCE = 6


def abi() -> int:
    """Return which version of Landlock the kernel offers; 0 where it offers none.

    1: Linux 5.13; 2: moving between folders; 3: truncate; 4: TCP; 5: ioctl of devices; 6: signals and abstract
    unix sockets; 9: unix sockets with a path.
    """
    if sys.platform != "linux":
        return 0
    try:
        return _call("ask for the version", _CREATE_RULESET, None, 0, _ASK_VERSION)
    except OSError:
        return 0


def restrict(
    read: Sequence[str], write: Sequence[str], *, network: bool, devices: Sequence[str] = ()
) -> None:
    """Confine the calling thread, and all it starts, to these paths for good. Switches `no_new_privs` on.

    What is in or below `read` may be read, listed and executed. In or below `write`, files, folders, links,
    fifos and sockets may besides be written, made, removed and moved, also from one such path to another.
    `devices` are nodes that may be read, written and controlled by ioctl. All else in the file system is
    refused with EACCES (moving something into or out of `write`: also EXDEV). `network` False refuses to bind
    and connect TCP, from ABI 4 on. From ABI 6 on, processes outside can be sent no signal, and their abstract
    unix sockets cannot be connected to. Processes outside can be neither traced nor looked into with any ABI,
    except by CAP_PERFMON: see `privileges.drop_capabilities`.

    Rights add up: nothing below a path in `write` can be kept from being written. Links are followed, so
    a path must not be one that an earlier run could have replaced. What does not exist is skipped. What this
    kernel's ABI does not know stays allowed: ask `abi` first.

    Raises OSError that says what to do, and then nothing has been restricted.
    """
    version = abi()
    if version == 0:
        raise OSError(
            errno.EOPNOTSUPP,
            "Landlock is not available: the kernel is older than 5.13, was built or started without it "
            "(see `lsm=` of its command line), or a filter forbids it; choose another sandbox level",
        )
    handled, tcp, scope = _handled(version, network)
    attributes = struct.pack("=QQQ", handled, tcp, scope)  # struct landlock_ruleset_attr
    ruleset = _call("make a set of rules", _CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for paths, rights in ((read, _READ), (write, _READ | _CHANGE), (devices, _DEVICE)):
            for path in paths:
                _allow(ruleset, path, rights & handled)
        privileges.no_new_privs()
        _call("confine the process", _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _handled(version: int, network: bool) -> tuple[int, int, int]:
    """What to refuse unless a rule allows it: rights to files, TCP, and what crosses the border at all."""
    rights = _FIRST_RIGHTS
    for since, right in _SINCE.items():
        rights |= right if version >= since else 0
    tcp = _TCP if version >= _TCP_SINCE and not network else 0
    return rights, tcp, _SCOPE if version >= _SCOPE_SINCE else 0


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise OSError(
            error.errno,
            f"Landlock cannot allow {path}: {error.strerror}; make it accessible or leave it out",
        ) from error
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _FOR_FILES  # the kernel refuses a rule with others for a file
        rule = struct.pack("=Qi", rights, descriptor)  # struct landlock_path_beneath_attr
        _call(f"allow {path}", _ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)


def _call(doing: str, number: int, *arguments: int | bytes | None) -> int:
    words = (ctypes.c_long(value) if isinstance(value, int) else value for value in arguments)
    result: int = ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *words)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock cannot {doing}: {os.strerror(code)}")
    return result
