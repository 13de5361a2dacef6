"""Landlock by a real kernel: what is refused outside the named paths, and that work inside them goes on."""

from __future__ import annotations

import errno
import importlib.util
import os
import socket
import sys
from pathlib import Path

import pytest
from confined import ROOT, ask, start

from agent_runner.execution import landlock

ABI = landlock.abi()
REFUSED = (errno.EACCES, errno.EXDEV)


def needs(abi: int, what: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(abi > ABI, reason=f"this kernel's Landlock (ABI {ABI}) has no {what}")


pytestmark = needs(1, "Landlock at all")


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """Folders `read`, `write` and `outside`, each with a `file` and a `folder` in it."""
    for name in ("read", "write", "outside"):
        (tmp_path / name / "folder").mkdir(parents=True)
        (tmp_path / name / "file").write_text(name)
    program = tmp_path / "outside" / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return {name: str(tmp_path / name) for name in ("read", "write", "outside")}


RESTRICT = """
import socket, subprocess  # from where the restricted process may not read
read, write, outside = (arguments[name] for name in ("read", "write", "outside"))
landlock.restrict([read, "/usr", "/bin", "/lib", "/lib64"], [write], network=False, devices=["/dev/null"])
"""


def test_reading_outside_is_refused(places: dict[str, str]) -> None:
    found = ask(
        RESTRICT
        + """
os.symlink(outside, write + "/link")
answer({
    "open": attempt(open, outside + "/file"),
    "list": attempt(os.listdir, outside),
    "through ..": attempt(open, write + "/../outside/file"),
    "through a link": attempt(open, write + "/link/file"),
    "through /proc": attempt(open, "/proc/self/root" + outside + "/file"),
    "run": attempt(os.execv, outside + "/program", ["program"]),
    "root": attempt(os.listdir, "/"),
    "hard link": attempt(os.link, outside + "/file", write + "/hard"),
})
""",
        **places,
    )
    assert found.pop("hard link") in REFUSED
    assert found == dict.fromkeys(found, errno.EACCES)


def test_writing_outside_is_refused(places: dict[str, str]) -> None:
    found = ask(
        RESTRICT
        + """
def both(path):
    return {
        "overwrite": attempt(open, path + "/file", "r+"),
        "create": attempt(open, path + "/new", "x"),
        "remove": attempt(os.unlink, path + "/file"),
        "remove a folder": attempt(os.rmdir, path + "/folder"),
        "make a folder": attempt(os.mkdir, path + "/new"),
        "make a link": attempt(os.symlink, "x", path + "/new"),
        "make a fifo": attempt(os.mkfifo, path + "/new"),
        "rename": attempt(os.rename, path + "/file", path + "/new"),
        "take": attempt(os.rename, path + "/file", write + "/new"),
        "give": attempt(os.rename, write + "/file", path + "/new"),
        "hard link": attempt(os.link, path + "/file", write + "/new"),
    }
answer([both(read), both(outside)])
""",
        **places,
    )
    for where in found:
        assert {name: code for name, code in where.items() if code not in REFUSED} == {}
    for name in ("read", "outside"):
        assert Path(places[name], "file").read_text() == name
        assert not Path(places[name], "new").exists()


@needs(3, "right to truncate")
def test_emptying_a_file_outside_is_refused(places: dict[str, str]) -> None:
    lines = 'answer([attempt(os.truncate, path + "/file", 0) for path in (read, outside, write)])'
    assert ask(RESTRICT + lines, **places) == [errno.EACCES, errno.EACCES, 0]


def test_without_restriction_the_same_is_allowed(places: dict[str, str]) -> None:
    lines = """
    outside, write = arguments["outside"], arguments["write"]
    answer([
        attempt(os.listdir, outside),
        attempt(os.truncate, outside + "/file", 0),
        attempt(os.rename, outside + "/file", write + "/new"),
        attempt(open, outside + "/new", "x"),
        attempt(os.kill, os.getppid(), 0),
        attempt(open, "/dev/zero"),
    ])
    """
    assert ask(lines, **places) == [0] * 6


def test_work_in_the_named_paths_goes_on(places: dict[str, str]) -> None:
    found = ask(
        RESTRICT
        + """
os.chdir(write)
with open("new", "x") as file:
    file.write("text")
with open("new", "w") as file:
    file.write("other")
os.mkdir("made")
os.symlink("new", "symbolic")
os.mkfifo("fifo")
with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
    server.bind(write + "/socket")
    server.listen()
    client.connect(write + "/socket")
os.rename("new", "made/renamed")
os.rename("made", "folder/moved")
text = open("folder/moved/renamed").read()
os.unlink("folder/moved/renamed")
os.rmdir("folder/moved")
with open(read + "/file") as file:
    seen = file.read()
program = subprocess.run(["cat", read + "/file"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
answer([text, seen, os.listdir(read), program.stdout, os.stat(outside).st_uid])
""",
        **places,
    )
    text, seen, listed, program, _ = found
    assert (text, seen, sorted(listed), program) == ("other", "read", ["file", "folder"], "read")


def test_a_program_started_later_is_confined_as_well(places: dict[str, str]) -> None:
    lines = """
commands = [["cat", path + "/file"] for path in (read, outside)]
answer([subprocess.run(command, capture_output=True).returncode for command in commands])
"""
    assert ask(RESTRICT + lines, **places) == [0, 1]


def test_single_files_can_be_named_and_missing_ones_are_skipped(places: dict[str, str]) -> None:
    found = ask(
        """
        read, write, outside = (arguments[name] for name in ("read", "write", "outside"))
        landlock.restrict(
            [read + "/file", "/no/such/place", read + "/file/below"], [write + "/file"], network=True
        )
        answer([
            attempt(open, read + "/file"),
            attempt(open, read + "/file", "r+"),
            attempt(os.listdir, read),
            attempt(open, write + "/file", "w"),
            attempt(open, write + "/new", "x"),
        ])
        """,
        **places,
    )
    assert found == [0, errno.EACCES, errno.EACCES, 0, errno.EACCES]


def test_a_path_that_cannot_be_opened_is_named_and_nothing_is_restricted(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    found = ask(
        """
        try:
            landlock.restrict([arguments["loop"]], [], network=False)
        except OSError as error:
            answer([error.errno, error.strerror, attempt(os.listdir, "/")])
        """,
        loop=str(loop),
    )
    code, message, listing = found
    assert (code, listing) == (errno.ELOOP, 0)
    assert str(loop) in message and "leave it out" in message


def test_devices_are_only_those_granted(places: dict[str, str]) -> None:
    found = ask(
        RESTRICT
        + """
with open("/dev/null", "w") as file:
    file.write("gone")
answer([
    attempt(open, "/dev/null"),
    attempt(open, "/dev/zero"),
    attempt(os.mknod, write + "/null", 0o20666, os.makedev(1, 3)) in (errno.EACCES, errno.EPERM),
])
""",
        **places,
    )
    assert found == [0, errno.EACCES, True]


@needs(5, "right to ioctl of devices")
def test_only_a_granted_device_takes_ioctl() -> None:
    found = ask("""
        import fcntl
        landlock.restrict(["/dev/urandom"], [], network=False, devices=["/dev/random"])
        entropy = 0x80045200  # RNDGETENTCNT
        answer([
            attempt(fcntl.ioctl, open(path, "rb"), entropy, bytes(4))
            for path in ("/dev/random", "/dev/urandom")
        ])
    """)
    assert found == [0, errno.EACCES]


CONNECT = """
import socket
landlock.restrict([], [], network=arguments["network"])
tcp, udp = (socket.socket(socket.AF_INET, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM))
answer([
    attempt(tcp.connect, ("127.0.0.1", arguments["port"])),
    attempt(socket.socket().bind, ("127.0.0.1", 0)),
    attempt(udp.connect, ("127.0.0.1", arguments["port"])),
])
"""


@needs(4, "rights to TCP")
@pytest.mark.parametrize(("network", "code"), [(False, errno.EACCES), (True, 0)])
def test_tcp_only_where_granted(network: bool, code: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = ask(CONNECT, network=network, port=server.getsockname()[1])
    assert found == [code, code, 0]  # UDP is beyond it; the system call filter stops that


@needs(4, "rights to TCP")
def test_the_system_call_filter_closes_the_ways_around() -> None:
    lines = """
    import socket
    landlock.restrict([], [], network=False)
    seccomp.install(seccomp.program())
    fast_open = 0x20000000
    where = ("127.0.0.1", arguments["port"])
    later = socket.socket()
    later.setsockopt(socket.IPPROTO_TCP, 30, 1)  # TCP_FASTOPEN_CONNECT: by connect(), which Landlock sees
    answer([
        attempt(later.connect, where),
        attempt(socket.socket().sendto, b"x", fast_open, where),
        attempt(socket.socket().sendmsg, [b"x"], [], fast_open, where),
        attempt(socket.socket, socket.AF_INET, socket.SOCK_STREAM, 262),  # MPTCP
    ])
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert ask(lines, port=server.getsockname()[1]) == [errno.EACCES, *[errno.EPERM] * 3]


@needs(6, "border for signals and abstract sockets")
def test_signals_and_abstract_sockets_stay_inside() -> None:
    name = f"\0agent-runner-test-{os.getpid()}"
    lines = """
    import signal, socket, subprocess
    landlock.restrict(["/usr", "/bin", "/lib", "/lib64"], [], network=False)
    child = subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE)
    own = attempt(os.kill, child.pid, signal.SIGKILL)
    child.wait()
    client = socket.socket(socket.AF_UNIX)
    answer([own, attempt(os.kill, os.getppid(), 0), attempt(client.connect, arguments["name"])])
    """
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        assert ask(lines, name=name) == [0, errno.EPERM, errno.EPERM]


def test_processes_outside_cannot_be_looked_into() -> None:
    found = ask("""
        become_nobody()
        privileges.drop_capabilities()
        look = lambda: [
            attempt(open, f"/proc/{os.getppid()}/environ"),
            attempt(os.readlink, f"/proc/{os.getppid()}/fd/1"),
            attempt(open, f"/proc/{os.getppid()}/mem"),
        ]
        codes = []
        for confine in (False, True):
            ours, theirs = os.pipe()
            if os.fork() == 0:
                if confine:
                    landlock.restrict(["/proc"], [], network=False)
                os.write(theirs, json.dumps(look()).encode())
                os._exit(0)
            codes.append(json.loads(os.read(ours, 4096)))
            os.wait()
        answer(codes)
    """)
    assert found == [[0] * 3, [errno.EACCES] * 3]


@pytest.mark.parametrize("abi", range(1, 11))
def test_only_rights_that_the_kernel_knows_are_asked_for(abi: int) -> None:
    files, tcp, scope = landlock._handled(abi, network=False)
    known_files = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16, 6: 16, 7: 16, 8: 16}.get(abi, 17)
    assert files == (1 << known_files) - 1
    assert tcp == (3 if abi >= 4 else 0)
    assert scope == (3 if abi >= 6 else 0)
    assert landlock._handled(abi, network=True)[1] == 0


@pytest.mark.parametrize("abi", range(1, ABI + 1))
def test_confining_works_as_on_an_older_kernel(places: dict[str, str], abi: int) -> None:
    pretend = f"landlock.abi = lambda: {abi}\n"
    lines = """
answer([
    attempt(open, write + "/file", "r+"),
    attempt(open, outside + "/file"),
    attempt(open, "/dev/null", "w"),
    attempt(os.rename, write + "/file", write + "/new"),
])
"""
    assert ask(pretend + RESTRICT + lines, **places) == [0, errno.EACCES, 0, 0]


def test_a_kernel_without_it_is_said_to_be_one() -> None:
    done = start("landlock.abi = lambda: 0\nlandlock.restrict([], [], network=False)")
    assert done.returncode == 1
    assert "Landlock is not available" in done.stderr
    assert "choose another sandbox level" in done.stderr


def test_a_filter_that_forbids_landlock_makes_it_absent() -> None:
    # Programs in containers meet this: the call is known to the kernel but refused.
    lines = """
    import errno, struct
    refuse = [(0x20, 0, 0, 0), (0x15, 0, 1, 444), (0x06, 0, 0, 0x50000 | errno.EPERM), (0x06, 0, 0, 0x7FFF0000)]
    seccomp.install(b"".join(struct.pack("=HBBI", *line) for line in refuse))
    answer(landlock.abi())
    """
    assert ask(lines) == 0


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_torch_works_under_everything_at_once(tmp_path: Path) -> None:
    # The whole chain of the level without namespaces; about three seconds.
    found = ask(
        """
        os.chdir(arguments["work"])
        os.environ.update(HOME=os.getcwd(), TMPDIR=os.getcwd())
        landlock.restrict(
            ["/usr", "/bin", "/lib", "/lib64", "/etc", "/proc", "/sys", *arguments["read"]],
            [arguments["work"], "/dev/shm"],
            network=False,
            devices=["/dev/null", "/dev/zero", "/dev/urandom"],
        )
        privileges.drop_capabilities()
        seccomp.install(seccomp.program(network=False))
        import torch
        from torch.utils.data import DataLoader, TensorDataset
        torch.set_num_threads(2)
        rows = DataLoader(TensorDataset(torch.arange(8.0)), batch_size=2, num_workers=2)
        torch.save(torch.ones(3), "saved.pt")
        answer([sum(batch.sum().item() for (batch,) in rows), torch.load("saved.pt").sum().item()])
        """,
        read=[sys.prefix, sys.base_prefix, str(ROOT)],
        work=str(tmp_path),
    )
    assert found == [28.0, 3.0]
