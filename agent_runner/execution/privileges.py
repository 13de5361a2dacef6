"""Giving up privileges for good, in the calling process. Standard library only, Linux.

The order that works: change the uid, `landlock.restrict`, `drop_capabilities`, `seccomp.install`, exec.
Everything here holds for the calling thread and whatever it starts: call it where there is one thread.
"""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache

_PR_CAPBSET_READ = 23  # linux/prctl.h
_PR_CAPBSET_DROP = 24
_PR_GET_SECUREBITS = 27
_PR_SET_SECUREBITS = 28
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4

_SECBIT_NOROOT = 1 << 0  # linux/securebits.h
_SECBIT_NOROOT_LOCKED = 1 << 1

_CAPABILITY_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3 of linux/capability.h
_CAPABILITY_NUMBERS = 64  # the version's sets are 64 bits wide


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilitySets(ctypes.Structure):
    """32 bits of each set; the call takes the low and then the high half."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def no_new_privs() -> None:
    """Have no later exec grant anything: neither set-uid bits nor file capabilities take effect any more.

    Cannot be undone, and is inherited. It is also what lets a process without privileges use Landlock and
    seccomp. Raises OSError where the kernel refuses.
    """
    prctl("switch on no_new_privs", _PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities() -> None:
    """Empty every capability set of the calling thread, for good. Switches `no_new_privs` on as well.

    uid 0 without capabilities is still the owner of root's files, but can no longer pass over permissions,
    mount, load modules, change the network, or look into processes that have more than itself, such as the
    shim (/proc/PID/environ).

    An exec as uid 0 would by itself bring all capabilities back. Three things stand against it: an empty
    bounding set, the locked bit that takes this meaning from uid 0, and `no_new_privs`. The first two need
    CAP_SETPCAP and are left out without it; the third never does.

    Raises OSError when a set could not be emptied.
    """
    no_new_privs()
    # Ambient goes with inheritable in the end, but a kernel that has no ambient set (before 4.3) says EINVAL.
    _allowing(
        errno.EINVAL, "clear the ambient capabilities", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL
    )
    bits = prctl("read the secure bits", _PR_GET_SECUREBITS)
    wanted = bits | _SECBIT_NOROOT | _SECBIT_NOROOT_LOCKED
    _allowing(errno.EPERM, "take from uid 0 its special meaning", _PR_SET_SECUREBITS, wanted)
    _clear_bounding_set()
    header = _CapabilityHeader(_CAPABILITY_VERSION, 0)
    sets = (_CapabilitySets * 2)()
    if _libc().capset(ctypes.byref(header), ctypes.byref(sets)) != 0:
        raise _error("drop the capabilities")


def prctl(doing: str, option: int, first: int = 0, second: int = 0) -> int:
    """Call prctl(2). Raises OSError that says what could not be done: `cannot DOING: ...`."""
    # All five are read as machine words: a Python int would be passed as 32 bits, with junk above.
    words = (ctypes.c_ulong(value) for value in (first, second, 0, 0))
    result: int = _libc().prctl(option, *words)
    if result < 0:
        raise _error(doing)
    return result


def _clear_bounding_set() -> None:
    for number in range(_CAPABILITY_NUMBERS):
        try:
            held = prctl("read the bounding set", _PR_CAPBSET_READ, number)
        except OSError:
            return  # past the last capability that this kernel knows
        if held:
            _allowing(errno.EPERM, "empty the bounding set", _PR_CAPBSET_DROP, number)


def _allowing(code: int, doing: str, option: int, first: int) -> None:
    try:
        prctl(doing, option, first)
    except OSError as error:
        if error.errno != code:
            raise


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _error(doing: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"cannot {doing}: {os.strerror(number)}")
