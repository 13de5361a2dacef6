"""The system call filter in force: what a real kernel refuses under it, and that ordinary work goes on."""

from __future__ import annotations

import errno
import importlib.util
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from confined import ROOT, ask, capabilities, start

from agent_runner.execution import seccomp

HERE = platform.machine()

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
ADDR_NO_RANDOMIZE = 0x40000
TIOCSTI, TIOCLINUX, TCGETS = 0x5412, 0x541C, 0x5401
MSG_FASTOPEN, MSG_DONTWAIT = 0x20000000, 0x40
AF_INET, AF_INET6, AF_NETLINK, SOCK_STREAM, SOCK_DGRAM, SOCK_RAW = 2, 10, 16, 1, 2, 3
IPPROTO_MPTCP, IPPROTO_SMC, IPPROTO_SCTP = 262, 256, 132
FAMILIES = {
    "KEY": 15,
    "PACKET": 17,
    "TIPC": 30,
    "BLUETOOTH": 31,
    "ALG": 38,
    "VSOCK": 40,
    "SMC": 43,
    "XDP": 44,
}

on_known_machine = pytest.mark.skipif(
    sys.platform != "linux" or HERE not in ("x86_64", "aarch64"),
    reason=f"no filter is known for {HERE}",
)


MAKE_CALLS = """
if arguments["filtered"]:
    seccomp.install(seccomp.program(network=arguments.get("network", True)))
answer([call(*values) for values in arguments["calls"]])
"""


def errnos(
    calls: Mapping[str, tuple[int, ...]], *, filtered: bool, network: bool = True
) -> dict[str, int]:
    """Make each system call in one child and return its errno by name."""
    found = ask(MAKE_CALLS, calls=list(calls.values()), filtered=filtered, network=network)
    return dict(zip(calls, found, strict=True))


def number_of(name: str) -> int:
    number = {**seccomp.REFUSED, **seccomp.EXAMINED}[name][HERE]
    assert number is not None
    return number


def refused_calls() -> dict[str, tuple[int, ...]]:
    """Each refused call with arguments that no kernel accepts, so that it is harmless without a filter."""
    return {
        name: (number, *[-1] * 6)
        for name, numbers in seccomp.REFUSED.items()
        if (number := numbers[HERE]) is not None
    }


@on_known_machine
def test_the_kernel_refuses_every_call_of_the_table() -> None:
    found = errnos(refused_calls(), filtered=True)
    assert found == dict.fromkeys(found, errno.EPERM)


@on_known_machine
def test_without_the_filter_the_same_calls_fail_for_other_reasons() -> None:
    if capabilities() & 1 << 21 == 0:
        pytest.skip("needs CAP_SYS_ADMIN: without it the kernel says EPERM by itself")
    calls = refused_calls()
    calls.pop("vhangup", None)  # takes no argument that could be wrong, and does something
    found = errnos(calls, filtered=False)
    assert [name for name, code in found.items() if code == errno.EPERM] == []


def examined_calls() -> dict[str, tuple[int, ...]]:
    """Refused by their arguments. Without the filter each fails otherwise, or does no harm."""
    clone_fs = 0x200  # not allowed together with a new user or mount namespace
    ioctl, socket, pair = number_of("ioctl"), number_of("socket"), number_of("socketpair")
    junk = 0x5EED << 32
    return {
        "clone NEWUSER": (number_of("clone"), CLONE_NEWUSER | clone_fs, 0, 0, 0, 0),
        "clone NEWNS": (number_of("clone"), CLONE_NEWNS | clone_fs, 0, 0, 0, 0),
        "TIOCSTI": (ioctl, -1, TIOCSTI, 0),
        "TIOCSTI under junk": (ioctl, -1, TIOCSTI | junk, 0),
        "TIOCLINUX": (ioctl, -1, TIOCLINUX, 0),
        "personality": (number_of("personality"), ADDR_NO_RANDOMIZE),
        "sendto": (number_of("sendto"), -1, 0, 0, MSG_FASTOPEN, 0, 0),
        "sendmsg": (number_of("sendmsg"), -1, 0, MSG_FASTOPEN),
        "sendmmsg": (number_of("sendmmsg"), -1, 0, 0, MSG_FASTOPEN),
        "prlimit of the parent": (number_of("prlimit64"), os.getpid(), 999, 8),
        "MPTCP": (socket, AF_INET, SOCK_STREAM, IPPROTO_MPTCP),
        "SMC over IPv6": (socket, AF_INET6, SOCK_STREAM, IPPROTO_SMC),
        "SCTP": (socket, AF_INET, SOCK_STREAM, IPPROTO_SCTP),
        "netlink audit": (socket, AF_NETLINK, SOCK_RAW, 9),
        "netlink netfilter": (socket, AF_NETLINK, SOCK_RAW, 12),
        "socketpair TIPC": (pair, FAMILIES["TIPC"], SOCK_STREAM, 0, 0),
        **{name: (socket, family, SOCK_RAW, 0) for name, family in FAMILIES.items()},
    }


@on_known_machine
def test_the_kernel_refuses_by_arguments() -> None:
    found = errnos(examined_calls(), filtered=True)
    assert found == dict.fromkeys(found, errno.EPERM)


@on_known_machine
def test_without_the_filter_none_of_these_is_refused() -> None:
    if capabilities() & 1 << 13 == 0:
        pytest.skip("needs CAP_NET_RAW: without it the kernel says EPERM by itself")
    found = errnos(examined_calls(), filtered=False)
    assert [name for name, code in found.items() if code == errno.EPERM] == []


@on_known_machine
def test_clone3_is_missing_rather_than_refused() -> None:
    calls = {"clone3": (number_of("clone3"), 0, 0)}
    assert errnos(calls, filtered=True) == {"clone3": errno.ENOSYS}
    assert errnos(calls, filtered=False)["clone3"] in (errno.EINVAL, errno.ENOSYS)


@on_known_machine
def test_openat2_is_missing() -> None:
    """Its mode lies in memory, where a filter does not see it; libraries then turn to openat."""
    assert errnos({"openat2": (437, -100, 0, 0, 0)}, filtered=True) == {"openat2": errno.ENOSYS}


MAKE_SET_ID = """
import pathlib, shutil, tempfile
if arguments["filtered"]:
    seccomp.install(seccomp.program())
path = pathlib.Path(arguments["folder"], "program")
path.touch()
name, AT = os.fsencode(path), -100
descriptor = os.open(path, os.O_RDWR)
found = {}
for label, bit in (("uid", 0o4000), ("gid", 0o2000), ("none", 0o1000)):
    found[label] = [
        attempt(os.chmod, path, bit | 0o700),
        attempt(os.fchmod, descriptor, bit | 0o700),
        call(arguments["fchmodat"], AT, name, bit | 0o700),
        attempt(os.mknod, f"{path} node {label}", bit | 0o600),
        attempt(os.open, f"{path} made {label}", os.O_CREAT | os.O_WRONLY, bit | 0o600),
        attempt(os.open, path.parent, os.O_TMPFILE | os.O_WRONLY, bit | 0o600),
    ]
shutil.copy2(path, f"{path} copy")
tempfile.NamedTemporaryFile(dir=path.parent).close()
# Without O_CREAT there is no mode, whatever stands in its place.
found["opened"] = attempt(os.open, path, os.O_RDONLY, 0o6777)
answer(found)
"""


@on_known_machine
@pytest.mark.parametrize("filtered", [True, False])
def test_no_set_uid_program_can_be_made(tmp_path: Path, filtered: bool) -> None:
    found = ask(
        MAKE_SET_ID, folder=str(tmp_path), filtered=filtered, fchmodat=number_of("fchmodat")
    )
    refused = [errno.EPERM if filtered else 0] * 6
    assert found == {"uid": refused, "gid": refused, "none": [0] * 6, "opened": 0}
    set_id = [path for path in tmp_path.iterdir() if path.stat().st_mode & 0o6000]
    assert bool(set_id) is not filtered


@on_known_machine
def test_harmless_arguments_of_examined_calls_pass() -> None:
    calls = {
        "which personality": (number_of("personality"), 0xFFFFFFFF),
        "plain personality": (number_of("personality"), 0),
        "ask for limits": (number_of("prlimit64"), 0, 7, 0, 0),
        "tcp": (number_of("socket"), AF_INET, SOCK_STREAM, 6),
        "udp6": (number_of("socket"), AF_INET6, SOCK_DGRAM, 17),
        "routes": (number_of("socket"), AF_NETLINK, SOCK_RAW, 0),
        "memory policy": ({"x86_64": 238, "aarch64": 237}[HERE], 0, 0, 0),
    }
    found, without = errnos(calls, filtered=True), errnos(calls, filtered=False)
    assert found == without
    assert found["routes"] == found["which personality"] == found["ask for limits"] == 0
    terminal = {"ioctl": (number_of("ioctl"), -1, TCGETS, 0)}
    assert errnos(terminal, filtered=True) == {"ioctl": errno.EBADF}
    message = {"sendto": (number_of("sendto"), -1, 0, 0, MSG_DONTWAIT, 0, 0)}
    assert errnos(message, filtered=True) == {"sendto": errno.EBADF}


@on_known_machine
def test_without_network_there_is_no_ip_socket_but_every_other() -> None:
    socket = number_of("socket")
    calls = {
        "tcp": (socket, AF_INET, SOCK_STREAM, 0),
        "udp6": (socket, AF_INET6, SOCK_DGRAM, 0),
        "unix": (socket, 1, SOCK_STREAM, 0),
        "routes": (socket, AF_NETLINK, SOCK_RAW, 0),
    }
    found = errnos(calls, filtered=True, network=False)
    assert found == {"tcp": errno.EPERM, "udp6": errno.EPERM, "unix": 0, "routes": 0}


@on_known_machine
def test_a_process_sets_its_own_limits_and_reads_those_of_others() -> None:
    found = ask("""
        import resource
        seccomp.install(seccomp.program())
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        answer([
            attempt(resource.prlimit, os.getppid(), resource.RLIMIT_CPU),
            attempt(resource.prlimit, os.getppid(), resource.RLIMIT_CPU, (-1, -1)),
        ])
    """)
    assert found == [0, errno.EPERM]


@pytest.mark.skipif(HERE != "x86_64", reason="only x86_64 has a second, 32-bit way into the kernel")
@pytest.mark.parametrize("filtered", [True, False])
def test_the_32_bit_entry_ends_the_process(filtered: bool) -> None:
    done = start(
        """
        import mmap
        memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        memory.write(b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3")  # mov eax, 20 (getpid); int 0x80; ret
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        if arguments["filtered"]:
            seccomp.install(seccomp.program())
        print(ctypes.CFUNCTYPE(ctypes.c_int)(address)() == os.getpid())
        """,
        filtered=filtered,
    )
    if filtered:
        assert done.returncode == -signal.SIGSYS
    elif done.returncode:
        pytest.skip("this kernel runs no 32-bit code, with or without a filter")
    else:
        assert done.stdout == "True\n"


@on_known_machine
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing_work(method: str) -> None:
    found = ask(
        """
        import multiprocessing, multiprocessing.shared_memory
        seccomp.install(seccomp.program())
        with multiprocessing.get_context(arguments["method"]).Pool(2) as pool:
            doubled = pool.map(abs, range(-3, 0))
        memory = multiprocessing.shared_memory.SharedMemory(create=True, size=4096)
        memory.close()
        memory.unlink()
        answer(doubled)
        """,
        method=method,
    )
    assert found == [3, 2, 1]


@on_known_machine
def test_ordinary_programs_work() -> None:
    found = ask("""
        import asyncio, shutil, socket, subprocess, tempfile, threading, time
        seccomp.install(seccomp.program())
        seen = {}
        thread = threading.Thread(target=lambda: seen.update(thread=True))
        thread.start()
        thread.join()
        with socket.create_server(("127.0.0.1", 0)) as server:
            with socket.create_connection(server.getsockname()) as client:
                peer, _ = server.accept()
                client.sendall(b"tcp")
                seen["tcp"] = peer.recv(3).decode()
                peer.close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", 0))
            udp.sendto(b"udp", udp.getsockname())
            seen["udp"] = udp.recv(3).decode()
        left, right = socket.socketpair()
        left.sendall(b"pair")
        seen["pair"] = right.recv(4).decode()
        seen["interfaces"] = bool(socket.if_nameindex())
        seen["localhost"] = bool(socket.getaddrinfo("localhost", 80))
        seen["loop"] = asyncio.run(asyncio.sleep(0, "loop"))
        os.sched_setaffinity(0, os.sched_getaffinity(0))
        os.close(os.memfd_create("memory"))
        with tempfile.TemporaryDirectory() as folder:
            os.symlink("target", os.path.join(folder, "link"))
            os.mkfifo(os.path.join(folder, "fifo"))
        seen["shell"] = subprocess.run(["sh", "-c", "echo a | cat"], capture_output=True, text=True).stdout
        seen["git"] = subprocess.run(["git", "--version"], capture_output=True, text=True).stdout
        answer(seen)
    """)
    assert found.pop("git").startswith("git version")
    assert found == {
        "thread": True,
        "tcp": "tcp",
        "udp": "udp",
        "pair": "pair",
        "interfaces": True,
        "localhost": True,
        "loop": "loop",
        "shell": "a\n",
    }


@on_known_machine
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_torch_computes_and_loads_data_in_workers() -> None:
    found = ask("""
        seccomp.install(seccomp.program())
        import torch
        from torch.utils.data import DataLoader, TensorDataset
        torch.set_num_threads(2)
        product = torch.ones(64, 64) @ torch.ones(64, 64)
        rows = DataLoader(TensorDataset(torch.arange(8.0)), batch_size=2, num_workers=2)
        answer([product.sum().item(), sum(batch.sum().item() for (batch,) in rows)])
    """)
    assert found == [64.0**3, 28.0]


@on_known_machine
def test_the_filter_is_inherited_and_cannot_be_left() -> None:
    found = ask(
        """
        import subprocess
        seccomp.install(seccomp.program())
        code = "import ctypes; l = ctypes.CDLL(None, use_errno=True);" \\
            f"l.syscall({arguments['ptrace']}, 0, 0, 0, 0); print(ctypes.get_errno())"
        after = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
        status = open("/proc/self/status").read()
        answer([int(after.stdout), "NoNewPrivs:\\t1" in status, "Seccomp:\\t2" in status])
        """,
        ptrace=number_of("ptrace"),
    )
    assert found == [errno.EPERM, True, True]


@on_known_machine
def test_a_broken_program_is_refused_with_a_reason() -> None:
    done = start("seccomp.install(bytes(8))")
    assert done.returncode == 1
    assert "cannot install the system call filter: Invalid argument" in done.stderr


def test_the_program_as_a_file_is_at_its_beginning_and_closed_by_exec() -> None:
    descriptor = seccomp.as_file(b"12345678")
    try:
        assert not os.get_inheritable(descriptor)
        assert os.read(descriptor, 100) == b"12345678"
    finally:
        os.close(descriptor)


@on_known_machine
def test_bubblewrap_takes_the_program() -> None:
    if (bwrap := shutil.which("bwrap")) is None:
        pytest.skip("bubblewrap is not installed")
    command = [
        bwrap,
        "--ro-bind",
        "/",
        "/",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--cap-drop",
        "ALL",
    ]
    if subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("bubblewrap cannot make a sandbox on this machine")
    descriptor = seccomp.as_file(seccomp.program())
    try:
        code = "print('Seccomp:\\t2' in open('/proc/self/status').read())"
        done = subprocess.run(
            [*command, "--seccomp", str(descriptor), sys.executable, "-I", "-c", code],
            pass_fds=[descriptor],
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
    finally:
        os.close(descriptor)
    assert done.stdout == "True\n", done.stderr
