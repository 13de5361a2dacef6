"""The shim as a user without rights starts it, with the system's Python: L1, and L2 by a user namespace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sandbox_jobs import until

from agent_runner.execution import job_files, process_tree

ROOT = Path(__file__).resolve().parents[2]
PYTHON = "/usr/bin/python3"
USER = 65534
SHARED = pytest.mark.parametrize("level", ["L1", "L2"])

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv") or not os.path.exists(PYTHON),
    reason="needs root, setpriv and /usr/bin/python3",
)


def start_in(folder: Path, code: str, level: str, **values: Any) -> None:
    """Run a job to the end of its start, all of it as that user."""
    record, worktree = folder / "home" / "record", folder / "home" / "worktree"
    spec = {
        "job_id": "x",
        "argv": [PYTHON, "-I", "-S", "-c", code],
        "cwd": str(worktree),
        "env": {
            "PATH": os.defpath,
            "HOME": str(record / "box" / "home"),
            "AGENT_RUNNER_RECORD_DIR": str(record / "job"),
            "TMPDIR": "/tmp" if level == "L2" else str(record / "box" / "home"),
        },
        "record_dir": str(record),
        "out_dir": str(worktree / "run_1"),
        "limits": {"time_s": 60, **values.pop("limits", {})},
        "confinement": {"level": level, "hidden": [str(folder / "home")], **values},
    }
    (record / job_files.SPEC).write_text(json.dumps(spec))
    shim = folder / "agent_runner" / "execution" / "shim.py"
    command = ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups"]
    command += [PYTHON, "-I", "-S", str(shim), str(record / job_files.SPEC)]
    with open(record / job_files.SHIM_LOG, "ab") as log:
        subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=log, timeout=60, cwd="/")


def end_in(folder: Path) -> dict[str, Any]:
    record = folder / "home" / "record"
    until(lambda: not job_files.is_locked(str(record / job_files.LOCK)))
    return json.loads((record / job_files.EXIT).read_text())  # type: ignore[no-any-return]


def run_in(folder: Path, code: str, level: str, **values: Any) -> dict[str, Any]:
    start_in(folder, code, level, **values)
    return end_in(folder)


def stdout(folder: Path) -> str:
    return (folder / "home" / "record" / job_files.STDOUT).read_text(errors="replace")


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a copy of the shim's package, and a home that belongs to the user.

    Not pytest's own: only its owner can pass through the folders above that.
    """
    with tempfile.TemporaryDirectory() as made:
        base = Path(made)
        base.chmod(0o755)
        (base / "agent_runner").mkdir()
        (base / "agent_runner" / "__init__.py").touch()
        ignore = shutil.ignore_patterns("__pycache__")
        source = ROOT / "agent_runner" / "execution"
        shutil.copytree(source, base / "agent_runner" / "execution", ignore=ignore)
        subprocess.run(["chmod", "-R", "a+rX", str(base)], check=True)
        for path in ("home", "home/worktree", "home/record"):
            (base / path).mkdir()
            os.chown(base / path, USER, USER)
        (base / "home" / "worktree" / "data").write_text("data")
        (base / "secret").write_text("secret")
        yield base


@pytest.fixture(autouse=True)
def _works(folder: Path, request: pytest.FixtureRequest) -> None:
    level = request.getfixturevalue("level") if "level" in request.fixturenames else "L2"
    ended = run_in(folder, "print('ok')", level)
    if ended["reason"] == "not_started":
        why = f"{level} does not work for a user without rights: {ended['message']}"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    assert (ended["returncode"], stdout(folder)) == (0, "ok\n")
    shutil.rmtree(folder / "home" / "worktree" / "run_1", ignore_errors=True)


LOOK = """
import json, os
def errno(action):
    try:
        action()
    except OSError as error:
        return error.errno
    return 0
os.makedirs("run_1", exist_ok=True)
open("run_1/final_info.json", "w").write("{}")
"""


@SHARED
def test_from_start_to_end(folder: Path, level: str) -> None:
    code = LOOK + (
        "open('/dev/stdout', 'w').close()\n"
        f"secret, record = {str(folder / 'secret')!r}, {str(folder / 'home' / 'record')!r}\n"
        # Below the private /tmp these are folders of its own, in which it may write what it likes.
        "errno(lambda: open(record + '/exit.json', 'w').write('forged'))\n"
        "errno(lambda: open(record + '/forged', 'w'))\n"
        "print(json.dumps([os.getuid(), open('data').read(), errno(lambda: open('data', 'w')), "
        "errno(lambda: os.unlink('data')), errno(lambda: open(secret)), "
        "errno(lambda: open('/usr/x', 'w')), errno(lambda: open('/x', 'w')), "
        "errno(lambda: open(os.environ['TMPDIR'] + '/x', 'w')), errno(lambda: open('/dev/shm/x-j', 'w')), "
        "sorted(os.environ)]))\n"
        "errno(lambda: os.unlink('/dev/shm/x-j'))"
    )
    ended = run_in(folder, code, level)
    assert (ended["reason"], ended["returncode"], ended["message"]) == ("exited", 0, "")
    user, data, *refused, tmp, shared, names = json.loads(stdout(folder))
    assert (user, data, tmp, shared) == (USER, "data", 0, 0) and not {0} & set(refused)
    own = {"AGENT_RUNNER_RECORD_DIR", "HOME", "PATH", "TMPDIR"}
    assert set(names) - {"LC_CTYPE"} == own  # which Python sets for itself
    result = folder / "home" / "worktree" / "run_1" / "final_info.json"
    assert result.read_text() == "{}" and result.stat().st_uid == USER
    left = set(os.listdir(folder / "home" / "record"))
    assert not left & {"box", "job", "forged"}


@SHARED
def test_time(folder: Path, level: str) -> None:
    """A program that is deaf to SIGTERM, with its results so far."""
    code = LOOK + "import signal, time; signal.signal(15, lambda *_: os._exit(3))\ntime.sleep(1000)"
    ended = run_in(folder, code, level, limits={"time_s": 1.5})
    assert (ended["reason"], ended["returncode"]) == ("timeout", 3)
    assert (folder / "home" / "worktree" / "run_1" / "final_info.json").exists()


def test_results_that_are_closed_to_everybody(folder: Path) -> None:
    code = LOOK + "os.mkdir('run_1/inner'); os.chmod('run_1/final_info.json', 0)\n"
    code += "os.chmod('run_1/inner', 0); os.chmod('run_1', 0)\n"
    code += "os.makedirs('/tmp/a/b'); os.chmod('/tmp/a', 0); os.chmod(os.environ['HOME'], 0)"
    ended = run_in(folder, code, "L2")
    assert (ended["returncode"], ended["message"]) == (0, "")
    result = folder / "home" / "worktree" / "run_1" / "final_info.json"
    assert result.stat().st_mode & 0o400 and result.parent.stat().st_mode & 0o700 == 0o700
    assert not (folder / "home" / "record" / "box").exists()


def test_a_job_cannot_forge_its_end(folder: Path) -> None:
    """The first program inside has the same user here: its descriptors can be opened, and it can be killed."""
    code = (
        LOOK
        + """
opened = 0
for number in range(64):
    try:
        end = os.open(f"/proc/{os.getppid()}/fd/{number}", os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        continue
    opened += 1
    for line in (b"ended 127\\n", b"ended 99999999999999999999\\n", b"ended 65536\\n", b"\\xff" * 9000):
        errno(lambda: os.write(end, line))
    errno(lambda: os.write(end, b"\\n"))
print("\\n", opened, flush=True)
os.kill(os.getppid(), 9)
"""
    )
    ended = run_in(folder, code, "L2")
    assert (ended["reason"], ended["signal"]) == ("exited", "SIGKILL"), ended
    # beside the descriptors of its own streams, which first program and job share
    assert int(stdout(folder).splitlines()[-1]) > 2, "the report could not be reached"


def test_processes_are_counted_apart(folder: Path) -> None:
    """Other processes of the same user do not count, those of the job do."""
    others = subprocess.Popen(["sleep", "1000"], user=USER, group=USER)
    try:
        code = (
            LOOK
            + """
import time
count = 0
try:
    for _ in range(40):
        if os.fork() == 0:
            time.sleep(1000)
        count += 1
except OSError:
    pass
print(count, flush=True)
os._exit(0)
"""
        )
        ended = run_in(folder, code, "L2", limits={"processes": 10})
        assert (ended["reason"], ended["returncode"]) == ("exited", 0)
        assert 0 < int(stdout(folder)) < 40
    finally:
        others.kill()
        others.wait()


def test_the_shim_is_killed(folder: Path) -> None:
    code = LOOK + "import sys, time; print('up', flush=True); os.fork(); time.sleep(1000)"
    start_in(folder, code, "L2")
    until(lambda: "up" in stdout(folder))
    record = folder / "home" / "record"
    shim = json.loads((record / job_files.STARTED).read_text())["shim_pid"]
    tree = process_tree.descendants(shim)
    assert len(tree) >= 4
    found = process_tree.find(shim)
    assert found is not None and process_tree.send(found, 9)
    until(lambda: not any(lives(process) for process in tree))


def lives(process: process_tree.Process) -> bool:
    now = process_tree.find(process.pid)
    if now is None or now.start != process.start:
        return False
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return False
