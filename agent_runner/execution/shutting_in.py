"""Level L1: a process shuts itself in, for good, before it becomes the experiment. Standard library only.

Landlock decides what it may open, seccomp what it may ask of the kernel; there are no namespaces. It sees the
names of files and processes that are none of its business, and shares /dev/shm and the user with them. The
ordinary mode, the times and the owner of that user's files can still be changed: Landlock governs none of them.
"""

from __future__ import annotations

import errno
import os

from agent_runner.execution import landlock, privileges, scratch, seccomp, visible
from agent_runner.execution.job_files import Confinement, Spec

LEAST_ABI = 6  # before it, every process of the same user can be sent signals: Linux 6.12


def restrict(spec: Spec) -> None:
    """Shut the calling process in.

    Raises:
        OSError, seccomp.UnsupportedMachine: it could not be done; the process must not go on.
    """
    if landlock.abi() < LEAST_ABI:
        text = f"the kernel's Landlock is of version {landlock.abi()}, {LEAST_ABI} is needed"
        raise OSError(errno.ENOTSUP, text)
    given = spec.confinement
    _refuse_to_show_what_is_hidden(given)
    read = [*visible.paths(spec), "/proc", spec.cwd]
    write = [*given.write, scratch.box(spec, "home"), scratch.job_folder(spec), "/dev/shm"]
    write += scratch.linked_folders(spec)
    out = os.path.dirname(given.out) if given.out else spec.out_dir
    write += [folder for folder in (out, spec.env.get("TMPDIR")) if folder]
    devices = [f"/dev/{name}" for name in visible.DEVICES] + list(given.devices)
    privileges.no_new_privs()
    landlock.restrict(
        read, [p for p in write if os.path.exists(p)], network=given.network, devices=devices
    )
    privileges.drop_capabilities()
    # Landlock knows TCP alone, and not all of it.
    seccomp.install(seccomp.program(network=given.network))


def _refuse_to_show_what_is_hidden(given: Confinement) -> None:
    """Landlock can allow a folder but not take a part of it away again."""
    shown = [os.path.realpath(path) for path in (*visible.SYSTEM, *given.read, *given.linked)]
    for folder in map(os.path.realpath, given.hidden):
        for path in shown:
            if path == folder or folder.startswith(f"{path}/"):
                text = f"{folder} would be readable, since {path} is; keep it elsewhere, or use L2"
                raise OSError(errno.ENOTSUP, text)
