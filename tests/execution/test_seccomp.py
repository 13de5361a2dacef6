"""The system call filter: its program, run by a small interpreter, against its table."""

from __future__ import annotations

import errno
import os
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runner.execution import seccomp

MACHINES = ("x86_64", "aarch64")
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
CLONE_NEW = [
    0x20000,
    *(1 << bit for bit in range(25, 31)),
]  # NEWNS; CGROUP, UTS, IPC, USER, PID, NET
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
MSG_FASTOPEN = 0x20000000
O_CREAT, O_TMPFILE, S_ISUID, S_ISGID = 0o100, 0o20200000, 0o4000, 0o2000


def evaluate(program: bytes, number: int, arch: int, arguments: tuple[int, ...]) -> int:
    """Run classic BPF (Documentation/networking/filter.rst) as the kernel does; return its verdict."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *arguments)
    instructions = list(struct.iter_unpack("=HBBI", program))
    accumulator, at = 0, 0
    while True:
        code, then, otherwise, value = instructions[at]
        if code == 0x06:
            return int(value)
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
            at += 1
            continue
        holds = {
            0x15: accumulator == value,
            0x25: accumulator > value,
            0x35: accumulator >= value,
            0x45: accumulator & value != 0,
        }[code]
        at += 1 + (then if holds else otherwise)


def expected(machine: str, number: int, arguments: tuple[int, ...], network: bool) -> int:
    """What the table and the issue say, without a jump in sight."""
    if machine == "x86_64" and (number >= 0x40000000 or 512 <= number <= 547):
        return ENOSYS
    names = {
        numbers[machine]: name for name, numbers in {**seccomp.REFUSED, **seccomp.EXAMINED}.items()
    }
    name = names.get(number)
    low = [argument & 0xFFFFFFFF for argument in arguments]
    if name is None:
        return ALLOW
    if name in seccomp.REFUSED:
        return EPERM
    if name in ("clone3", "openat2"):
        return ENOSYS
    ip = (2, 10) if network else ()
    allowed = {
        "clone": not low[0] & sum(CLONE_NEW),
        **{name: not low[1] & 0o6000 for name in ("chmod", "fchmod", "creat", "mknod")},
        **{name: not low[2] & 0o6000 for name in ("fchmodat", "fchmodat2", "mknodat")},
        "open": not low[1] & 0o20000100 or not low[2] & 0o6000,
        "openat": not low[2] & 0o20000100 or not low[3] & 0o6000,
        "ioctl": low[1] not in (TIOCSTI, TIOCLINUX),
        "personality": low[0] in (0, 0xFFFFFFFF),
        "prlimit64": low[0] == 0 or arguments[2] == 0,
        "sendmsg": not low[2] & MSG_FASTOPEN,
        "sendmmsg": not low[3] & MSG_FASTOPEN,
        "sendto": not low[3] & MSG_FASTOPEN,
        "socket": low[0] == 1
        or (low[0] == 16 and low[2] == 0)
        or (low[0] in ip and low[2] in (0, 1, 6, 17, 58)),
        "socketpair": low[0] == 1,
    }[name]
    return ALLOW if allowed else EPERM


def known(machine: str) -> list[int]:
    tables = {**seccomp.REFUSED, **seccomp.EXAMINED}.values()
    return [number for numbers in tables if (number := numbers[machine]) is not None]


INTERESTING = st.sampled_from(
    [
        0,
        1,
        2,
        6,
        10,
        16,
        17,
        58,
        40,
        262,
        TIOCSTI,
        TIOCLINUX,
        MSG_FASTOPEN,
        O_CREAT,
        O_TMPFILE,
        S_ISUID | 0o755,
        S_ISGID,
        0o1777,
        0xFFFFFFFF,
        *CLONE_NEW,
    ]
)
ARGUMENT = st.one_of(
    INTERESTING,
    st.integers(0, 2**64 - 1),
    st.builds(lambda low, high: low | high << 32, INTERESTING, st.integers(0, 2**32 - 1)),
)


@given(data=st.data(), machine=st.sampled_from(MACHINES), network=st.booleans())
def test_the_program_agrees_with_the_table(
    data: st.DataObject, machine: str, network: bool
) -> None:
    numbers = st.one_of(
        st.sampled_from(known(machine)), st.integers(0, 600), st.integers(0, 2**32 - 1)
    )
    number = data.draw(numbers)
    arguments = data.draw(st.tuples(*[ARGUMENT] * 6))
    program = seccomp.program(machine, network=network)
    verdict = evaluate(program, number, ARCH[machine], arguments)
    assert verdict == expected(machine, number, arguments, network)


@pytest.mark.parametrize("machine", MACHINES)
def test_every_number_of_the_table_and_none_beside_it_is_refused(machine: str) -> None:
    program = seccomp.program(machine)
    refused = {
        number
        for number in range(512)
        if evaluate(program, number, ARCH[machine], (0,) * 6) == EPERM
    }
    named = {numbers[machine] for numbers in seccomp.REFUSED.values()} - {None}
    socket_of_no_family = {seccomp.EXAMINED[name][machine] for name in ("socket", "socketpair")}
    assert refused == named | socket_of_no_family


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("arch", [0x40000003, 0x40000028, 0, *ARCH.values()])
def test_only_the_machine_s_own_calls_are_looked_at(machine: str, arch: int) -> None:
    verdict = evaluate(seccomp.program(machine), 0, arch, (0,) * 6)
    assert verdict == (ALLOW if arch == ARCH[machine] else KILL)


@pytest.mark.parametrize(
    "number", [512, 521, 547, 0x40000000, 0x40000000 + 101, 0x40000209, 0xFFFFFFFF]
)
def test_the_second_abi_of_x86_64_is_missing(number: int) -> None:
    assert evaluate(seccomp.program("x86_64"), number, ARCH["x86_64"], (0,) * 6) == ENOSYS


@pytest.mark.parametrize("number", [511, 548, 0x3FFFFFFF])
def test_numbers_beside_it_are_not(number: int) -> None:
    assert evaluate(seccomp.program("x86_64"), number, ARCH["x86_64"], (0,) * 6) == ALLOW


def test_another_machine_is_refused_by_name() -> None:
    with pytest.raises(seccomp.UnsupportedMachine, match="riscv64"):
        seccomp.program("riscv64")


@pytest.mark.parametrize(
    ("machine", "headers"),
    [
        (
            "x86_64",
            ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"),
        ),
        ("aarch64", ("/usr/include/asm-generic/unistd.h",)),
    ],
)
def test_numbers_are_those_of_the_kernel_s_headers(machine: str, headers: tuple[str, ...]) -> None:
    header = next((Path(name) for name in headers if os.path.exists(name)), None)
    if header is None:
        pytest.skip(f"the kernel's headers are not installed ({headers[0]})")
    defined = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())
    numbers = {name: int(number) for name, number in defined}
    ours = {
        name: of[machine]
        for name, of in {**seccomp.REFUSED, **seccomp.EXAMINED}.items()
        if name in numbers
    }
    assert ours == {name: numbers[name] for name in ours}
    # Calls newer than the headers cannot be compared; there is one in the table that is newer than most.
    assert len(ours) >= len(known(machine)) - 3
