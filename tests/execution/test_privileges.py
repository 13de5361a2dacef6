"""Privileges given up for good, as the kernel sees it."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from confined import ask, capabilities, start

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="these are Linux's")

CAP_SETPCAP, CAP_SYS_ADMIN = 8, 21
STATUS = """
import shutil, subprocess
def status(text):
    pairs = (line.split(":", 1) for line in text.splitlines())
    return {name: value.strip() for name, value in pairs}
def own():
    return status(open("/proc/self/status").read())
def after_exec():
    return status(subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout)
def sets(of):
    return {name: int(of[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd")}
"""
NOBODY = 65534

as_full_root = pytest.mark.skipif(
    os.geteuid() != 0
    or not capabilities() >> CAP_SYS_ADMIN & 1
    or not capabilities() >> CAP_SETPCAP & 1,
    reason="only root with its capabilities has some to lose",
)


@as_full_root
def test_no_capability_is_left_nor_regained_by_exec() -> None:
    before, after, executed, bits = ask(
        STATUS
        + """
before = sets(own())
privileges.drop_capabilities()
answer([before, sets(own()), sets(after_exec()), libc.prctl(27, 0, 0, 0, 0)])
"""
    )
    assert before["CapEff"] != 0
    assert after == dict.fromkeys(after, 0)
    assert executed == dict.fromkeys(executed, 0)
    assert bits & 0b11 == 0b11  # SECBIT_NOROOT and its lock


@as_full_root
def test_without_setpcap_exec_regains_nothing_either() -> None:
    # uid 0 in a container may lack it: the bounding set then stays as it is.
    executed = ask(
        STATUS
        + """
header = privileges._CapabilityHeader(privileges._CAPABILITY_VERSION, 0)
both = (privileges._CapabilitySets * 2)()
both[0].effective = both[0].permitted = 1 << 21
assert libc.capset(ctypes.byref(header), ctypes.byref(both)) == 0
privileges.drop_capabilities()
answer(sets(after_exec()))
"""
    )
    assert executed.pop("CapBnd") != 0
    assert executed == dict.fromkeys(executed, 0)


def test_an_ordinary_user_can_drop_too() -> None:
    after, new = ask(
        STATUS
        + """
become_nobody()
privileges.drop_capabilities()
now = own()
answer([sets(now), now["NoNewPrivs"]])
"""
    )
    assert {name: value for name, value in after.items() if name != "CapBnd" and value} == {}
    assert new == "1"


PRIVILEGED = """
answer([
    attempt(open, f"/proc/{os.getppid()}/environ"),
    attempt(os.chown, arguments["file"], 12345, 12345),
    attempt(os.setuid, 12345),
])
"""


@as_full_root
def test_root_without_capabilities_sees_and_changes_less(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert ask(PRIVILEGED, file=str(file)) == [0, 0, 0]
    os.chown(file, 0, 0)
    found = ask("privileges.drop_capabilities()" + PRIVILEGED, file=str(file))
    assert found == [errno.EACCES, errno.EPERM, errno.EPERM]


def test_no_new_privs_is_on_and_stays_on_in_children() -> None:
    found = ask(
        STATUS
        + """
before = own()["NoNewPrivs"]
privileges.no_new_privs()
answer([before, own()["NoNewPrivs"], after_exec()["NoNewPrivs"]])
"""
    )
    assert found[1:] == ["1", "1"]


@pytest.fixture
def set_uid_program() -> Iterator[str]:
    """A copy of `id` that runs as root whoever starts it, where everybody can reach it."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        program = Path(folder, "id")
        program.write_bytes(Path("/usr/bin/id").read_bytes())
        program.chmod(0o4755)
        yield str(program)


@as_full_root
@pytest.mark.skipif(not os.path.exists("/usr/bin/id"), reason="there is no /usr/bin/id to copy")
def test_set_uid_programs_grant_nothing_any_more(set_uid_program: str) -> None:
    lines = f"""
    import subprocess
    os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
    if arguments["no_new_privs"]:
        privileges.no_new_privs()
    answer(subprocess.run([arguments["program"], "-u"], capture_output=True, text=True).stdout.strip())
    """
    if ask(lines, program=set_uid_program, no_new_privs=False) != "0":
        pytest.skip("the temporary folder is mounted nosuid: nothing could be granted there anyway")
    assert ask(lines, program=set_uid_program, no_new_privs=True) == str(NOBODY)


def test_a_refusal_by_the_kernel_says_what_could_not_be_done() -> None:
    done = start('privileges.prctl("do the impossible", 0x7FFF)')
    assert done.returncode == 1
    assert "cannot do the impossible: Invalid argument" in done.stderr
