"""Whether a folder is on a disk of this machine. SQLite's locks and shared memory need one."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from agent_runner.errors import LedgerError

# `f_type` of statfs(2) for file systems that several machines may write at once. FUSE is not among them:
# it tells nothing about what stands behind it.
NETWORK_FILE_SYSTEMS = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB2",
    0x5346414F: "AFS",
    0x73757245: "Coda",
    0x00C36400: "Ceph",
    0x0BD00BD0: "Lustre",
    0x47504653: "GPFS",
    0x19830326: "BeeGFS",
    0xAAD7AAEA: "PanFS",
    0x7461636F: "OCFS2",
    0x01161970: "GFS2",
}


def file_system_type(folder: Path) -> int | None:
    """The magic number of the file system a folder is on; None where it cannot be asked (not Linux)."""
    if not sys.platform.startswith("linux"):
        return None
    # struct statfs begins with f_type, a machine word on the architectures Python has wheels for; its
    # whole size is at most 120 bytes.
    answer = (ctypes.c_ulong * 64)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.statfs(os.fsencode(folder), ctypes.byref(answer)) != 0:
        return None
    return int(answer[0]) & 0xFFFFFFFF


def refuse_network_disk(path: Path) -> None:
    """Raise LedgerError where the ledger would be on a network file system."""
    name = NETWORK_FILE_SYSTEMS.get(file_system_type(path.parent) or 0)
    if name is not None:
        raise LedgerError(
            f"the ledger {path} would be on {name}, a network file system: two machines could write it at "
            "once and spend one budget twice",
            "Put the home on a disk of this machine (--home, or AGENT_RUNNER_HOME).",
        )
