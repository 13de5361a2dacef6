"""What a job that is shut in gets to see of the host, beside its own folders. Standard library only.

Of the system: programs, libraries and what they need to be told; nothing about this machine's people. Then the
interpreter that our own first program inside needs, and what the job's `Confinement` names.
"""

from __future__ import annotations

import functools
import os
import pwd
import sys

from agent_runner.execution.job_files import Spec

INTERPRETER = os.path.realpath(sys.executable)  # runs `inside`

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
_ETC = (
    *("ld.so.cache", "alternatives", "localtime", "nsswitch.conf", "os-release", "mime.types"),
    *("ssl/certs", "ssl/openssl.cnf", "pki/tls/certs", "pki/ca-trust"),
)
_ETC_NETWORK = ("resolv.conf", "hosts", "gai.conf", "host.conf", "protocols", "services")
_PROCESSORS = ("/sys/devices/system/cpu", "/sys/devices/system/node")
# One by one, for the level that has no /dev of its own.
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


def paths(spec: Spec) -> list[str]:
    """Files and folders of the host that are shown read-only, sorted, each of which exists."""
    given = spec.confinement
    etc = (*_ETC, *(_ETC_NETWORK if given.network else ()))
    prefixes = filter(may_be_shown, (sys.base_prefix, sys.base_exec_prefix))
    # One by one, should the folder that Python is installed in be somebody's home.
    ours = (*prefixes, INTERPRETER, os.path.dirname(os.__file__), os.path.dirname(__file__))
    # A GPU's libraries look it up below /sys.
    machine = ("/sys",) if given.devices else _PROCESSORS
    program = (spec.argv[0],) if os.path.isfile(spec.argv[0]) else ()
    wanted = {
        *SYSTEM,
        *(f"/etc/{name}" for name in etc),
        *machine,
        *ours,
        *given.read,
        *given.linked,
        *program,
    }
    return sorted(path for path in wanted if os.path.isabs(path) and os.path.exists(path))


def may_be_shown(folder: str) -> bool:
    """Whether a folder that merely holds programs may be shown: not where that would show a user's home."""
    # As it is named and as it is: either may be what the home is known by.
    for path in {os.path.abspath(folder), os.path.realpath(folder)}:
        below = f"{path.rstrip('/')}/"
        if path == "/" or any(f"{private}/".startswith(below) for private in _private_folders()):
            return False
    return True


def _private_folders() -> set[str]:
    """The user's home, as the system and the environment have it, and what programs keep in its `.local`."""
    homes = {_home_of(os.getuid()), os.environ.get("HOME", "")}
    named = {os.path.normpath(home) for home in homes if os.path.isabs(home)} - {"/"}
    named |= {os.path.join(home, ".local") for home in named}
    return named | {os.path.realpath(path) for path in named}


@functools.cache
def _home_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_dir
    except KeyError:  # a user without a name, as in many containers
        return ""
