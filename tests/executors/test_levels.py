"""The same job at each level of isolation, through the executor, with real processes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from sandbox_jobs import (
    ALL,
    HELPERS,
    PYTHON,
    READY,
    SANDBOXED,
    Ground,
    end_of,
    need,
    started,
    tree_of,
    until,
)

from agent_runner.execution import job_files, process_tree
from agent_runner.execution.process_tree import Process
from agent_runner.executors.local import LocalExecutor


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path / "home")


@pytest.fixture(autouse=True)
def _works(request: pytest.FixtureRequest) -> None:
    if "level" in request.fixturenames:
        need(request.getfixturevalue("level"))


def is_ready(ground: Ground) -> bool:
    return READY in ground.stdout()


def is_gone(process: Process) -> bool:
    now = process_tree.find(process.pid)
    if now is None or now.start != process.start:
        return True
    try:
        return "\nState:\tZ" in Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return True


# ---------------------------------------------------------------- results


@ALL
def test_results_arrive(ground: Ground, level: str) -> None:
    """At L1 the output folder is there before: nothing else of the worktree can be written to."""
    make = "os.makedirs('run_1', exist_ok=True)" if level == "L1" else "os.makedirs('run_1')"
    code = HELPERS + make + "\nopen('run_1/final_info.json', 'w').write('{}')\nprint(os.getcwd())"
    ended = ground.run(code, level)
    assert (ended.reason, ended.returncode, ended.message) == ("exited", 0, ""), ground.stderr()
    assert ground.stdout() == f"{ground.worktree}\n"
    result = ground.out / "final_info.json"
    assert result.read_text() == "{}" and result.stat().st_uid == os.geteuid()
    assert ground.left() == set() and started(ground)["level"] == level
    assert sorted(os.listdir(ground.worktree)) == ["experiment.py", "run_1"]


@pytest.mark.parametrize("level", ["L1", "L2", "L3"])
def test_nothing_else_of_the_worktree_changes(ground: Ground, level: str) -> None:
    (ground.worktree / "data").mkdir()
    (ground.worktree / "data" / "x").write_text("x")
    (ground.worktree / "link").symlink_to("data")
    code = HELPERS + (
        "print(json.dumps([errno(lambda: open('experiment.py', 'a')), "
        "errno(lambda: os.unlink('experiment.py')), errno(lambda: os.rename('experiment.py', 'x')), "
        "errno(lambda: os.truncate('experiment.py', 0)), errno(lambda: os.rename('run_1', 'data')),"
        "errno(lambda: open('data/y', 'w')), errno(lambda: os.rename('data', 'other')), "
        "errno(lambda: os.link('experiment.py', 'run_1/hard')), errno(lambda: open('link/y', 'w'))]))\n"
        "errno(lambda: os.makedirs('run_1'))\n"
        "errno(lambda: open('stray', 'w').write('x'))\n"
        "errno(lambda: (os.unlink('link'), os.symlink('/etc', 'link')))\n"
    )
    before = {p.name: p.lstat().st_mtime_ns for p in ground.worktree.iterdir()}
    refused = ground.say(code, level)
    assert not {0} & set(refused)
    names = sorted(os.listdir(ground.worktree))
    assert names == ["data", "experiment.py", "link", "run_1"]
    assert os.readlink(ground.worktree / "link") == "data" and not before.keys() - set(names)
    assert os.listdir(ground.worktree / "data") == ["x"]
    if level != "L1":  # kept as evidence
        assert (ground.record / "box" / "work" / "stray").read_text() == "x"


# ---------------------------------------------------------------- ends


@ALL
@pytest.mark.parametrize("status", [0, 137, -signal.SIGKILL, -signal.SIGSEGV])
def test_exact_ends(ground: Ground, level: str, status: int) -> None:
    code = "import os\n"
    code += f"os._exit({status})" if status >= 0 else f"os.kill(os.getpid(), {-status})"
    argv = (str(PYTHON), "-I", "-S", "-c", code)
    ended = ground.run(level=level, argv=argv)
    assert (ended.reason, ended.returncode, ended.message) == ("exited", status, "")


@ALL
def test_a_program_that_is_not_there(ground: Ground, level: str) -> None:
    ended = ground.run(level=level, argv=("no-such-program",))
    assert ended.reason == "not_started" and ended.returncode is None
    assert ended.message == "cannot start the program no-such-program: No such file or directory"
    assert ground.left() == set()


SAVES = (
    HELPERS
    + """
os.makedirs("run_1", exist_ok=True)
def save(*_):
    time.sleep(0.05)
    open("run_1/final_info.json", "w").write("{}")
    os._exit(0)
"""
)


@ALL
def test_the_time_is_up_and_results_are_saved(ground: Ground, level: str) -> None:
    """A program that acts on SIGTERM gets the time for it, a daemon that does not is killed."""
    code = SAVES + "signal.signal(signal.SIGTERM, save)\ndaemon()\nready()\ntime.sleep(1000)"
    job = ground.start(code, level, limits={"time_s": 2})
    until(lambda: is_ready(ground))
    tree = tree_of(ground)
    ended = end_of(job)
    assert ended.reason == "timeout" and ended.message.startswith("still running after 2 s")
    assert ended.returncode == 0 and 2 <= ended.seconds < 30
    assert (ground.out / "final_info.json").read_text() == "{}"
    assert len(tree) >= 2 and all(map(is_gone, tree)) and ground.left() == set()


@ALL
def test_a_silent_program_is_ended_and_says_where_it_was(ground: Ground, level: str) -> None:
    code = "import time\ndef waits_for_ever():\n    time.sleep(1000)\nwaits_for_ever()"
    ended = ground.run(code, level, limits={"no_output_s": 2})
    assert (ended.reason, ended.signal) == ("no_output", "SIGTERM")
    assert "waits_for_ever" in (ground.record / job_files.STACKS).read_text()


@ALL
def test_the_soft_deadline_is_told(ground: Ground, level: str) -> None:
    code = SAVES + "signal.signal(signal.SIGUSR1, save)\ndaemon()\ntime.sleep(1000)"
    ended = ground.run(code, level, limits={"time_s": 100, "soft_deadline_s": 99})
    assert (ended.reason, ended.returncode, ended.soft_deadline_sent) == ("exited", 0, True)
    assert (ground.out / "final_info.json").exists()


@ALL
def test_cancel(ground: Ground, level: str) -> None:
    job = ground.start(HELPERS + "os.fork()\nready()\ntime.sleep(1000)", level)
    until(lambda: is_ready(ground))
    tree = tree_of(ground)
    job.cancel()
    ended = end_of(job)
    assert (ended.reason, ended.signal) == ("cancelled", "SIGTERM")
    assert all(map(is_gone, tree)) and ground.left() == set()


# ---------------------------------------------------------------- deaths


@ALL
def test_the_shim_is_killed(ground: Ground, level: str) -> None:
    code = SAVES + "open('run_1/partial', 'w').write('x')\ndaemon()\nready()\ntime.sleep(1000)"
    job = ground.start(code, level)
    until(lambda: is_ready(ground))
    tree = tree_of(ground)
    temporary = Path(os.readlink(ground.record / "tmp")) if level in ("L0", "L1") else None
    os.kill(started(ground)["shim_pid"], signal.SIGKILL)
    until(lambda: not job.alive())
    if level in ("L2", "L3"):  # below, daemons are found when the job is looked at
        until(lambda: all(map(is_gone, tree)))
    ended = end_of(job)
    assert (ended.reason, ended.returncode) == ("lost", None) and ended.seconds >= 0
    until(lambda: all(map(is_gone, tree)))
    assert (ground.out / "partial").read_text() == "x"
    assert (ground.out / "partial").stat().st_uid == os.geteuid()
    assert ground.left() == set() and job.poll() == ended
    assert temporary is None or not temporary.exists()


@SANDBOXED
@pytest.mark.parametrize("which", ["the monitor", "process 1", "our first program"])
def test_a_part_of_the_sandbox_is_killed(ground: Ground, level: str, which: str) -> None:
    code = SAVES + "open('run_1/partial', 'w').write('x')\ndaemon()\nready()\ntime.sleep(1000)"
    job = ground.start(code, level)
    until(lambda: is_ready(ground))
    tree = tree_of(ground)
    child = started(ground)["child_pid"]
    pids = {"the monitor": child, "process 1": process_tree.descendants(child)[0].pid}
    words = {p: Path(f"/proc/{p.pid}/cmdline").read_bytes().split(b"\0") for p in tree}
    first = [p.pid for p in tree if b"inside." in b"".join(words[p][3:4])]
    pid = pids.get(which) or first[0]
    (victim,) = (process for process in tree if process.pid == pid)
    assert process_tree.send(victim, signal.SIGKILL)
    until(lambda: all(map(is_gone, tree)))
    ended = end_of(job)
    assert (ended.reason, ended.signal) == ("exited", "SIGKILL")
    assert "the sandbox was killed before the program had ended" in ended.message
    assert (ground.out / "partial").exists() and ground.left() == set()


@SANDBOXED
def test_a_job_cannot_forge_its_end(ground: Ground, level: str) -> None:
    """It tries every descriptor of our first program, then kills it."""
    code = (
        HELPERS
        + """
for number in range(64):
    for line in (b"ended 0\\n", b"ended 127\\n", b"ended 99999999999999999999\\n", b"x" * 9000):
        try:
            end = os.open(f"/proc/{os.getppid()}/fd/{number}", os.O_WRONLY | os.O_NONBLOCK)
            os.write(end, line)
        except OSError:
            continue
os.kill(os.getpid(), 11)
"""
    )
    ended = ground.run(code, level)
    assert (ended.reason, ended.signal) == ("exited", "SIGSEGV"), ended


@SANDBOXED
def test_a_job_that_kills_its_sandbox(ground: Ground, level: str) -> None:
    code = (
        HELPERS + "os.kill(os.getppid(), signal.SIGSTOP)\nos.kill(-1, 9)\nos.kill(os.getppid(), 9)"
    )
    ended = ground.run(code + "\ntime.sleep(1000)", level, limits={"time_s": 5})
    assert ended.reason in ("exited", "timeout") and ended.signal == "SIGKILL"
    assert ground.left() == set()


# ---------------------------------------------------------------- limits

HOLDS = (
    "import time\nheld = b'x' * ({size} << 20)\nprint(len(held), flush=True)\ntime.sleep({seconds})"
)


@ALL
def test_memory(ground: Ground, level: str) -> None:
    ended = ground.run(HOLDS.format(size=400, seconds=1000), level, limits={"memory_mb": 200})
    assert ended.reason == "memory", ended
    assert (ended.oom_kills, ended.signal) == ((1, "SIGKILL") if level == "L3" else (0, "SIGTERM"))
    assert "200 MiB" in ended.message


@ALL
def test_peak_memory_is_the_programs(ground: Ground, level: str) -> None:
    ended = ground.run(HOLDS.format(size=300, seconds=0), level)
    assert ended.peak_memory_bytes is not None
    assert 300 <= ended.peak_memory_bytes >> 20 < 400


FORKS = (
    HELPERS
    + """
import threading
count, refused = 0, 0
for _ in range(60):
    try:
        if os.fork() == 0:
            time.sleep(1000)
            os._exit(0)
        count += 1
    except OSError as error:
        refused = error.errno
        break
print(json.dumps([count, refused]))
sys.stdout.flush()
os.kill(0, 9)
"""
)


@SANDBOXED
@pytest.mark.skipif(os.geteuid() != 0, reason="one user's processes are counted together")
def test_the_kernel_bounds_the_processes(ground: Ground, level: str) -> None:
    ended = ground.run(FORKS, level, limits={"processes": 20})
    assert json.loads(ground.stdout()) == [19, 11], (ended, ground.stderr())
    assert ended.signal == "SIGKILL" and ground.left() == set()
    assert ("fork was refused" in ended.message) == (level == "L3")


@pytest.mark.parametrize("level", ["L0", "L1"])
def test_too_many_processes_are_noticed(ground: Ground, level: str) -> None:
    code = FORKS.replace("os.kill(0, 9)", "time.sleep(1000)")
    ended = ground.run(code, level, limits={"processes": 20})
    assert ended.reason == "processes" and "the limit is 20" in ended.message


@ALL
def test_disk(ground: Ground, level: str) -> None:
    code = HELPERS + (
        "os.makedirs('run_1', exist_ok=True)\nfor number in range(1000):\n"
        "    with open(f'run_1/{number}', 'wb') as file: file.write(b'x' * (1 << 20))\n"
        "    time.sleep(0.02)"
    )
    ended = ground.run(code, level, limits={"disk_mb": 10})
    assert ended.reason == "disk" and "the limit is 10 MiB" in ended.message


@ALL
def test_a_start_that_fails_leaves_nothing(ground: Ground, level: str) -> None:
    spec = ground.spec("print('ran')", level)
    temporary = Path(spec.env["TMPDIR"])
    (ground.record / job_files.STDERR).mkdir()
    ended = end_of(LocalExecutor().start(spec))
    assert ended.reason == "not_started" and "Is a directory" in ended.message
    assert ground.left() == set() and not ground.out.exists()
    assert level in ("L2", "L3") or not temporary.exists()


@SANDBOXED
def test_a_folder_is_no_program_and_is_not_shown_for_it(ground: Ground, level: str) -> None:
    ended = ground.run(level=level, argv=("/", "x"))
    assert ended.reason == "not_started" and "Permission denied" in ended.message
