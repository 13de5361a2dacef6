"""What a job that is shut in gets to see of the host, beside its own folders. Standard library only.

Of the system: programs, libraries and what they need to be told; nothing about this machine's people. Then the
interpreter that our own first program inside needs, and what the job's `Confinement` names.
"""

from __future__ import annotations

import os
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
    ours = (os.path.dirname(os.path.dirname(INTERPRETER)), os.path.dirname(__file__))
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
