"""The system calls that a run may not make, as a seccomp filter. Standard library only, Linux.

The filter is a deny-list: what is not named here is allowed. A run is a model's Python with NumPy, PyTorch,
CUDA and whatever tools they start; no list of all that these need would hold from one version to the next.
Named is what a computation has no use for and an escape has: other processes' memory, mounts, namespaces, the
kernel's own programs and keys, the machine's clock and name, and sockets that no network namespace contains.

The program is classic BPF (linux/filter.h) over `struct seccomp_data` (linux/seccomp.h). The kernel shows it
the registers, never what they point to. Of a 64-bit register it looks only at the low half where the system
call itself takes an `int`, so that a command with junk above it is still recognised.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Mapping

from agent_runner.execution import privileges

Numbers = Mapping[str, int | None]  # by machine; None: the machine does not have the call

X86_64 = "x86_64"
AARCH64 = "aarch64"


class UnsupportedMachine(Exception):
    """No filter is known for this kind of processor."""


def _calls(**numbers: tuple[int | None, int | None]) -> dict[str, Numbers]:
    return {name: {X86_64: x86, AARCH64: arm} for name, (x86, arm) in numbers.items()}


# Refused whatever the arguments. Numbers: (x86_64, aarch64), of asm/unistd_64.h and asm-generic/unistd.h.
REFUSED: Mapping[str, Numbers] = {
    # Reading, writing or steering another process, or taking an open file out of one.
    **_calls(
        ptrace=(101, 117),
        process_vm_readv=(310, 270),
        process_vm_writev=(311, 271),
        kcmp=(312, 272),
        pidfd_getfd=(438, 438),
    ),
    # A second way into the kernel: what is submitted to io_uring passes no seccomp filter.
    **_calls(io_uring_setup=(425, 425), io_uring_enter=(426, 426), io_uring_register=(427, 427)),
    # Large parts of the kernel, with a long record of escapes, that no computation needs.
    **_calls(
        bpf=(321, 280),
        perf_event_open=(298, 241),
        userfaultfd=(323, 282),
        fanotify_init=(300, 262),
        lookup_dcookie=(212, 18),
        nfsservctl=(180, 42),
    ),
    # The kernel's key rings are shared by all processes of a uid and know no namespace.
    **_calls(add_key=(248, 217), request_key=(249, 218), keyctl=(250, 219)),
    # Changing what stands where in the file system, or naming a file without the path to it.
    **_calls(
        mount=(165, 40),
        umount2=(166, 39),
        pivot_root=(155, 41),
        chroot=(161, 51),
        open_tree=(428, 428),
        move_mount=(429, 429),
        fsopen=(430, 430),
        fsconfig=(431, 431),
        fsmount=(432, 432),
        fspick=(433, 433),
        mount_setattr=(442, 442),
        open_tree_attr=(467, 467),
        open_by_handle_at=(304, 265),
    ),
    # Namespaces: in a user namespace of its own a run would hold every capability again. See also `clone`.
    **_calls(unshare=(272, 97), setns=(308, 268)),
    # The machine itself: its kernel, modules, swap, accounts, log, ports and terminals.
    **_calls(
        kexec_load=(246, 104),
        kexec_file_load=(320, 294),
        init_module=(175, 105),
        finit_module=(313, 273),
        delete_module=(176, 106),
        reboot=(169, 142),
        swapon=(167, 224),
        swapoff=(168, 225),
        acct=(163, 89),
        quotactl=(179, 60),
        quotactl_fd=(443, 443),
        syslog=(103, 116),
        iopl=(172, None),
        ioperm=(173, None),
        vhangup=(153, 58),
    ),
    # The clock and the name of the machine: records of time must stay true.
    **_calls(
        settimeofday=(164, 170),
        clock_settime=(227, 112),
        adjtimex=(159, 171),
        clock_adjtime=(305, 266),
        sethostname=(170, 161),
        setdomainname=(171, 162),
    ),
}

# Refused or not by their arguments: see `_rules`.
EXAMINED: Mapping[str, Numbers] = _calls(
    chmod=(90, None),
    clone=(56, 220),
    clone3=(435, 435),
    creat=(85, None),
    fchmod=(91, 52),
    fchmodat=(268, 53),
    fchmodat2=(452, 452),
    ioctl=(16, 29),
    mknod=(133, None),
    mknodat=(259, 33),
    open=(2, None),
    openat=(257, 56),
    openat2=(437, 437),
    personality=(135, 92),
    prlimit64=(302, 261),
    sendmmsg=(307, 269),
    sendmsg=(46, 211),
    sendto=(44, 206),
    socket=(41, 198),
    socketpair=(53, 199),
)

_AUDIT_ARCH = {X86_64: 0xC000003E, AARCH64: 0xC00000B7}  # linux/audit.h

# x32 (a second ABI of x86_64 kernels) sets this bit. Its own calls stand at 512-547, and kernels before 5.4
# answered to these also without the bit: ptrace, for one, at 521.
_X32_BIT = 0x40000000
_X32_FIRST, _X32_LAST = 512, 547

# Calls that give a file its mode, and which argument that is.
_MODES = (
    *(("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("fchmodat2", 2)),
    *(("creat", 1), ("mknod", 1), ("mknodat", 2)),
)
_OPENS = (("open", 1), ("openat", 2))  # which argument the flags are; the mode follows
_SET_ID = 0o6000  # set-uid and set-gid
_MAKES_FILE = 0o100 | 0o20000000  # O_CREAT, __O_TMPFILE: without these there is no mode

_CLONE_NEW = 0x7E020000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET} of linux/sched.h
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C  # asm-generic/ioctls.h
_PERSONALITIES = (0, 0xFFFFFFFF)  # plain Linux, and the question which it is
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_NETLINK_ROUTE = 0
_PROTOCOLS = (0, 1, 6, 17, 58)  # the type's own, ICMP, TCP, UDP, ICMPv6
_MSG_FASTOPEN = 0x20000000

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_IS = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_ABOVE = 0x25  # BPF_JGT
_AT_LEAST = 0x35  # BPF_JGE
_HAS_BIT_OF = 0x45  # BPF_JSET
_RETURN = 0x06  # BPF_RET | BPF_K

_NUMBER, _ARCH = 0, 4  # offsets in struct seccomp_data; its arguments begin at 16
_RET_KILL_PROCESS = 0x80000000
_RET_ERRNO = 0x00050000
_RET_ALLOW = 0x7FFF0000

_FARTHEST = 255  # instructions that a jump can pass over

_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2


class _Program:
    """Instructions whose jumps go forward to a label; an empty label means the next instruction."""

    def __init__(self) -> None:
        self.instructions: list[tuple[int, int, str, str]] = []
        self.labels: dict[str, int] = {}

    def label(self, name: str) -> None:
        self.labels[name] = len(self.instructions)

    def load(self, offset: int) -> None:
        self.instructions.append((_LOAD, offset, "", ""))

    def load_low(self, argument: int) -> None:
        """Take the low half of an argument (both machines are little-endian)."""
        self.load(16 + 8 * argument)

    def load_high(self, argument: int) -> None:
        self.load(20 + 8 * argument)

    def jump(self, test: int, value: int, then: str, otherwise: str = "") -> None:
        self.instructions.append((test, value, then, otherwise))

    def go(self, label: str) -> None:
        self.jump(_AT_LEAST, 0, label)  # always so

    def end(self, action: int) -> None:
        self.instructions.append((_RETURN, action, "", ""))

    def assemble(self) -> bytes:
        return b"".join(
            struct.pack(
                "=HBBI", code, self._distance(at, then), self._distance(at, otherwise), value
            )
            for at, (code, value, then, otherwise) in enumerate(self.instructions)
        )

    def _distance(self, at: int, label: str) -> int:
        distance = self.labels[label] - at - 1 if label else 0
        if not 0 <= distance <= _FARTHEST:
            raise AssertionError(f"the jump from {at} to {label} goes {distance} instructions")
        return distance


def program(machine: str | None = None, *, network: bool = True) -> bytes:
    """Return the filter as an array of `struct sock_filter`, as `bwrap --seccomp` and `install` take it.

    `machine` is a name as of `os.uname()`; without it, this machine's. Refused calls fail with EPERM;
    clone3 and openat2, whose flags a filter cannot see, with ENOSYS, on which libraries turn to clone and
    openat. No file can be given a set-uid or set-gid bit: it would outlive the run. A program of another ABI
    is killed by SIGSYS (32-bit) or finds no system call at all (x32).

    With `network` False no IPv4 or IPv6 socket can be made. This is for where no network namespace holds the
    run: Landlock knows TCP, but not UDP.

    Raises UnsupportedMachine for any processor but x86_64 and aarch64.
    """
    machine = os.uname().machine if machine is None else machine
    if machine not in _AUDIT_ARCH:
        raise UnsupportedMachine(
            f"no system call filter is known for {machine or 'this machine'}, only for "
            f"{' and '.join(_AUDIT_ARCH)}; run at a level without one"
        )
    filter_ = _Program()
    _begin(filter_, machine)
    for numbers in REFUSED.values():
        number = numbers[machine]
        if number is not None:
            filter_.jump(_IS, number, "refuse")
    _rules(filter_, machine, network)
    filter_.label("allow")
    filter_.end(_RET_ALLOW)
    filter_.label("refuse")
    filter_.end(_RET_ERRNO | errno.EPERM)
    filter_.label("missing")
    filter_.end(_RET_ERRNO | errno.ENOSYS)
    filter_.label("kill")
    filter_.end(_RET_KILL_PROCESS)
    return filter_.assemble()


def _begin(filter_: _Program, machine: str) -> None:
    """Numbers mean nothing before it is known whose they are."""
    filter_.load(_ARCH)
    filter_.jump(_IS, _AUDIT_ARCH[machine], "", "kill")
    filter_.load(_NUMBER)
    if machine == X86_64:
        filter_.jump(_AT_LEAST, _X32_BIT, "missing")
        filter_.jump(_AT_LEAST, _X32_FIRST, "", "native")
        filter_.jump(_ABOVE, _X32_LAST, "", "missing")
        filter_.label("native")


def _rules(filter_: _Program, machine: str, network: bool) -> None:
    """What depends on arguments. The number is loaded; each call's own rule then ends the program."""
    for name, numbers in EXAMINED.items():
        number = numbers[machine]
        if number is not None:
            filter_.jump(_IS, number, name)
    filter_.go("allow")  # every other call
    # Of the flags the kernel reads the low half. CLONE_NEWTIME is none of them: clone() has another use for
    # its bit.
    filter_.label("clone")
    _refuse_bits(filter_, 0, _CLONE_NEW)
    filter_.label("clone3")
    filter_.label("openat2")
    filter_.go("missing")
    _modes(filter_, machine)
    # Both put text into a terminal as if it had been typed: a way to command the shell that started us.
    filter_.label("ioctl")
    filter_.load_low(1)
    filter_.jump(_IS, _TIOCSTI, "refuse")
    filter_.jump(_IS, _TIOCLINUX, "refuse", "allow")
    # Others switch off the random placement of memory, or make all of it executable.
    filter_.label("personality")
    _allow_only(filter_, 0, _PERSONALITIES)
    _prlimit(filter_)
    # With MSG_FASTOPEN these connect without connect(2), which Landlock does not notice.
    filter_.label("sendto")
    filter_.label("sendmmsg")
    _refuse_bits(filter_, 3, _MSG_FASTOPEN)
    filter_.label("sendmsg")
    _refuse_bits(filter_, 2, _MSG_FASTOPEN)
    filter_.label("socketpair")
    _allow_only(filter_, 0, (_AF_UNIX,))
    _socket(filter_, network)


def _modes(filter_: _Program, machine: str) -> None:
    """No set-uid or set-gid program may be made.

    Other users of the host could start it, where the run has the server's user (L1, or L2 without root). Of
    a folder the bit would be harmless, but a filter sees no difference.
    """
    for name, argument in _MODES:
        if EXAMINED[name][machine] is not None:
            filter_.label(name)
            _refuse_bits(filter_, argument, _SET_ID)
    for name, flags in _OPENS:
        if EXAMINED[name][machine] is not None:
            filter_.label(name)
            filter_.load_low(flags)
            filter_.jump(_HAS_BIT_OF, _MAKES_FILE, "", "allow")
            _refuse_bits(filter_, flags + 1, _SET_ID)


def _prlimit(filter_: _Program) -> None:
    """Limits may be set for the calling process only, and asked of any.

    With a limit of no processor time a run could kill the shim, where both have the same uid.
    """
    filter_.label("prlimit64")
    filter_.load_low(0)
    filter_.jump(_IS, 0, "allow")
    for load in (filter_.load_low, filter_.load_high):
        load(2)  # the pointer to the new limit
        filter_.jump(_IS, 0, "", "refuse")
    filter_.go("allow")


def _socket(filter_: _Program, network: bool) -> None:
    """Sockets of this machine, IP, and the kernel's answers about interfaces and routes (getifaddrs).

    AF_VSOCK reaches the host of a virtual machine, AF_ALG and others large parts of the kernel, from any
    network namespace. Of IP only what Landlock takes for TCP, or what is none: MPTCP, SMC and SCTP would
    connect past it.
    """
    filter_.label("socket")
    filter_.load_low(0)
    filter_.jump(_IS, _AF_UNIX, "allow")
    if network:
        filter_.jump(_IS, _AF_INET, "ip")
        filter_.jump(_IS, _AF_INET6, "ip")
    filter_.jump(_IS, _AF_NETLINK, "", "refuse")
    _allow_only(filter_, 2, (_NETLINK_ROUTE,))
    if network:
        filter_.label("ip")
        _allow_only(filter_, 2, _PROTOCOLS)


def _allow_only(filter_: _Program, argument: int, values: tuple[int, ...]) -> None:
    filter_.load_low(argument)
    for value in values[:-1]:
        filter_.jump(_IS, value, "allow")
    filter_.jump(_IS, values[-1], "allow", "refuse")


def _refuse_bits(filter_: _Program, argument: int, mask: int) -> None:
    filter_.load_low(argument)
    filter_.jump(_HAS_BIT_OF, mask, "refuse", "allow")


def as_file(program: bytes) -> int:
    """Return a descriptor from which the program can be read, at its beginning, for `bwrap --seccomp`.

    It is closed by exec: whoever starts bwrap passes it on (`pass_fds`, or `os.set_inheritable`).
    """
    descriptor = os.memfd_create("seccomp")
    try:
        os.write(descriptor, program)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class _Filter(ctypes.Structure):
    """`struct sock_fprog` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def install(program: bytes) -> None:
    """Put the calling thread, and all it starts, under the filter for good. Switches `no_new_privs` on.

    Raises OSError where the kernel refuses, as it does when it was built without seccomp (EINVAL).
    """
    privileges.no_new_privs()
    instructions = ctypes.create_string_buffer(program, len(program))
    loaded = _Filter(len(program) // struct.calcsize("=HBBI"), ctypes.addressof(instructions))
    privileges.prctl(
        "install the system call filter",
        _PR_SET_SECCOMP,
        _SECCOMP_MODE_FILTER,
        ctypes.addressof(loaded),
    )
