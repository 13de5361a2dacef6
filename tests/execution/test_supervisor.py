"""What a job is given and how its end is told, under a real shim."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sandbox_jobs import Ground, need
from shim_jobs import ROOT, ShimJob, has_ended, until

from agent_runner.execution import job_files, process_tree
from agent_runner.records import JobExit

# Leaves a process that is in another session, adopted by nobody it knows, and deaf to SIGTERM.
DAEMON = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        start = open("/proc/self/stat").read().rpartition(")")[2].split()[19]
        with open("aside", "w") as file: file.write(f"{os.getpid()} {start}")
        os.rename("aside", "daemon")
        while True: time.sleep(1000)
    os._exit(0)
while not os.path.exists("daemon"): time.sleep(0.01)
print("daemon is up", flush=True)
"""


def works_in(pid: int, folder: Path) -> bool:
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd")) == folder
    except OSError:  # it has ended, or is the kernel's
        return False


def daemon(job: ShimJob) -> tuple[int, int]:
    pid, start = (job.work / "daemon").read_text().split()
    return int(pid), int(start)


# ---------------------------------------------------------------- how it ended


@pytest.mark.parametrize("code", [0, 1, 7, 125, 255])
def test_exit_codes(job: ShimJob, code: int) -> None:
    ended = job.run(f"raise SystemExit({code})")
    assert (ended["reason"], ended["returncode"], ended["signal"]) == ("exited", code, None)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGTERM"])
def test_signals_that_are_not_ours(job: ShimJob, name: str) -> None:
    ended = job.run(f"import os, signal; os.kill(os.getpid(), signal.{name})")
    number = getattr(signal, name)
    assert (ended["reason"], ended["returncode"], ended["signal"]) == ("exited", -number, name)


@pytest.mark.parametrize("level", ["L2", "L3"])
@pytest.mark.parametrize("how", ["kill(os.getpid(), 9)", "kill(os.getppid(), 9)", "kill(-1, 9)"])
def test_a_program_that_ends_its_sandbox_is_told_from_a_stranger(
    level: str, how: str, tmp_path: Path
) -> None:
    """`tests/faults/test_kill_by_pid.py` has the strangers."""
    need(level)
    ended = Ground(tmp_path / "home").run(f"import os\nos.{how}\n", level)
    assert (ended.reason, ended.signal, ended.level) == ("exited", "SIGKILL", level)
    assert not ended.sandbox_killed
    assert ("from inside" in ended.message) == ("getpid" not in how)


def test_a_signal_without_a_name(job: ShimJob) -> None:
    assert job.run("import os; os.kill(os.getpid(), 40)")["signal"] == "signal 40"


def test_the_record_is_a_job_exit(job: ShimJob) -> None:
    ended = JobExit.model_validate(job.run("print('x' * 9); import sys; print(1, file=sys.stderr)"))
    assert (ended.stdout_bytes, ended.stderr_bytes, ended.dropped_bytes) == (10, 2, 0)
    assert ended.seconds > 0 and ended.peak_memory_bytes and ended.peak_memory_bytes > 2**20
    assert job.stdout() == "x" * 9 + "\n" and job.stderr() == "1\n"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("/no/such/program",), "cannot start the program /no/such/program: No such file"),
        (("no-such-program",), "cannot start the program no-such-program: No such file"),
        (("/etc/passwd",), "cannot start the program /etc/passwd: Permission denied"),
    ],
)
def test_a_program_that_cannot_be_started(job: ShimJob, argv: tuple[str, ...], said: str) -> None:
    ended = job.run(argv=argv)
    assert ended["reason"] == "not_started" and said in ended["message"]
    assert ended["returncode"] is None and ended["signal"] is None


def test_a_working_directory_that_is_missing(job: ShimJob) -> None:
    ended = job.run("print(1)", cwd=job.work / "gone")
    assert ended["reason"] == "not_started"
    assert f"cannot enter the working directory {job.work / 'gone'}" in ended["message"]
    assert job.stdout() == ""


# ---------------------------------------------------------------- what it is given


def test_it_gets_its_own_environment_and_nothing_else(job: ShimJob) -> None:
    os.environ["PLANTED_API_KEY"] = "hf_planted"
    try:
        job.run(
            "import os; print(dict(os.environ)); print(open('/proc/self/environ').read());"
            "print(open(f'/proc/{os.getppid()}/environ').read())",
            env={"PATH": os.defpath, "ONLY": "this", "LC_CTYPE": "C.UTF-8"},
        )
    finally:
        del os.environ["PLANTED_API_KEY"]
    own, raw, _ = job.stdout().split("\n", 2)
    assert eval(own) == {"PATH": os.defpath, "ONLY": "this", "LC_CTYPE": "C.UTF-8"}
    assert raw.strip("\0").split("\0") == [f"PATH={os.defpath}", "ONLY=this", "LC_CTYPE=C.UTF-8"]


def test_it_gets_no_descriptor_terminal_or_input_of_ours(job: ShimJob) -> None:
    job.run(
        "import os, sys, resource\n"
        "print(sorted(os.listdir('/proc/self/fd')))\n"  # 3 is the listing itself
        "print(os.readlink('/proc/self/fd/0'), repr(sys.stdin.read()))\n"
        "print(os.getsid(0) == os.getpid() == os.getpgid(0))\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE))\n"
        "print(os.getcwd())\n"
        "import signal; print(signal.getsignal(signal.SIGHUP) is signal.SIG_DFL)"
    )
    assert job.stdout().splitlines() == [
        "['0', '1', '2', '3']",
        "/dev/null ''",
        "True",
        "(0, 0)",
        str(job.work),
        "True",
    ]


def test_its_start_is_on_record_before_it_starts(job: ShimJob) -> None:
    path = job.record / job_files.STARTED
    job.run(f"import os; print(os.getpid()); print(open({str(path)!r}).read())")
    pid, _, seen = job.stdout().partition("\n")
    started = job.read(job_files.STARTED)
    assert seen.strip() == path.read_text().strip()
    assert started["child_pid"] == int(pid) and started["shim_pid"] != int(pid)
    assert started["boot_id"] == process_tree.boot_id() and started["subreaper"] is True


@pytest.mark.parametrize("word", ["", "no\n", "g"])
def test_the_barrier_opens_at_nothing_but_the_word(tmp_path: Path, word: str) -> None:
    """Above all not when the shim dies, which closes the pipe."""
    ran = tmp_path / "ran"
    code = f"""
import os, sys
sys.path.append({str(ROOT)!r})
from agent_runner.execution.child import Child
from agent_runner.execution.job_files import Limits, Spec
argv = (sys.executable, "-c", "open({str(ran)!r}, 'w')")
child = Child(Spec("test", argv, "/", {{}}, "/", Limits()))
os.write(child._barrier, {word.encode()!r})
child.give_up()
print(os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1]))
"""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == "125", result.stderr
    assert not ran.exists()


def test_no_second_shim_for_one_job(job: ShimJob) -> None:
    job.start("import time; time.sleep(1000)")
    second = job.start_shim(job.record / job_files.SPEC)
    assert second.returncode == 3
    assert "supervised by another process" in (job.record / job_files.SHIM_LOG).read_text()
    (job.record / job_files.CANCEL).touch()
    assert job.wait()["reason"] == "cancelled"


# ---------------------------------------------------------------- what ends it


def test_timeout_ends_a_daemon_that_left_the_session_and_ignores_sigterm(job: ShimJob) -> None:
    ended = job.run(DAEMON + "time.sleep(1000)", time_s=3)
    assert (ended["reason"], ended["signal"]) == ("timeout", "SIGTERM")
    assert ended["message"] == "still running after 3 s"
    assert job.stdout() == "daemon is up\n"
    assert has_ended(*daemon(job))


def test_what_a_program_leaves_running_is_ended_with_it(job: ShimJob) -> None:
    ended = job.run(DAEMON)
    assert (ended["reason"], ended["returncode"]) == ("exited", 0)
    assert has_ended(*daemon(job))


def test_a_tree_that_goes_on_forking_is_ended(job: ShimJob) -> None:
    ended = job.run(
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "for _ in range(4): os.fork()\n"
        "open('up', 'a').write('x')\n"
        "while True:\n"
        "    if os.fork(): os._exit(0)\n"  # a new pid each time, its parent gone
        "    os.setsid()\n"
        "    time.sleep(0.002)\n"
    )
    assert ended["reason"] == "exited"
    assert (job.work / "up").read_text() == "x" * 16
    assert [p for p in process_tree.all_processes() if works_in(p.pid, job.work)] == []


def test_a_program_may_save_on_sigterm(job: ShimJob) -> None:
    ended = job.run(
        "import signal, sys, time\n"
        "def save(*_): open('saved', 'w'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "time.sleep(1000)",
        time_s=1,
    )
    assert (ended["reason"], ended["returncode"]) == ("timeout", 0)
    assert (job.work / "saved").exists()


def test_a_stopped_program_is_ended_too(job: ShimJob) -> None:
    ended = job.run("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", time_s=0.5)
    assert (ended["reason"], ended["signal"]) == ("timeout", "SIGTERM")


def test_silence(job: ShimJob) -> None:
    ended = job.run("import time; print('last words', flush=True); time.sleep(1000)", no_output_s=1)
    assert ended["reason"] == "no_output" and job.stdout() == "last words\n"


def test_memory_of_the_whole_tree(job: ShimJob) -> None:
    ended = job.run(
        "import os, time\nfor _ in range(2):\n    if os.fork() == 0: break\n"
        "data = b'x' * (70 * 2**20)\ntime.sleep(1000)",
        memory_mb=150,
    )
    assert ended["reason"] == "memory" and "limit is 150 MiB" in ended["message"]
    assert ended["peak_memory_bytes"] > 150 * 2**20


def test_memory_that_workers_share_is_no_reason(job: ShimJob) -> None:
    ended = job.run(
        "import os, time\ndata = b'x' * (70 * 2**20)\n"
        "for _ in range(3):\n    if os.fork() == 0: break\n"
        "time.sleep(1.5)",
        memory_mb=150,
    )
    assert (ended["reason"], ended["returncode"]) == ("exited", 0)


def test_processes(job: ShimJob) -> None:
    ended = job.run(
        "import os, time\nfor _ in range(5):\n    if os.fork() == 0: break\ntime.sleep(1000)",
        processes=4,
    )
    assert (ended["reason"], ended["message"]) == ("processes", "6 processes, the limit is 4")


def test_disk(job: ShimJob) -> None:
    ended = job.run(
        "import time\nfor name in 'ab': open(name, 'wb').write(b'x' * 6 * 2**20)\ntime.sleep(1000)",
        disk_mb=10,
    )
    assert ended["reason"] == "disk" and "the limit is 10 MiB" in ended["message"]


def test_a_log_that_the_disk_does_not_take_is_told(job: ShimJob) -> None:
    (job.record / job_files.STDOUT).symlink_to("/dev/full")
    ended = job.run("print('lost')")
    assert (ended["reason"], ended["returncode"], ended["log_error"]) == ("exited", 0, "ENOSPC")
    assert "stdout.log is not complete: No space left on device" in ended["message"]
    (job.record / job_files.STDOUT).unlink()
    assert job.run("print('kept')")["log_error"] is None


def test_cancel_by_file_and_by_signal(job: ShimJob) -> None:
    job.start(DAEMON + "time.sleep(1000)")
    until((job.work / "daemon").exists)
    (job.record / job_files.CANCEL).touch()
    assert job.wait()["reason"] == "cancelled" and has_ended(*daemon(job))
    (job.record / job_files.CANCEL).unlink()
    job.start("import time; time.sleep(1000)")
    os.kill(job.read(job_files.STARTED)["shim_pid"], signal.SIGTERM)
    ended = job.wait()
    assert (ended["reason"], ended["signal"]) == ("cancelled", "SIGTERM")


def test_cancel_before_the_start(job: ShimJob) -> None:
    (job.record / job_files.CANCEL).touch()
    ended = job.run("open('ran', 'w')")
    assert (ended["reason"], ended["returncode"]) == ("cancelled", None)
    assert not (job.work / "ran").exists()


# ---------------------------------------------------------------- deadline, output, records


def test_the_soft_deadline_is_told_to_a_program_that_listens(job: ShimJob) -> None:
    ended = job.run(
        "import signal, sys, time\n"
        "def save(*_): open('saved', 'w'); sys.exit(0)\n"
        "signal.signal(signal.SIGUSR1, save)\n"
        "time.sleep(1000)",
        time_s=600,
        soft_deadline_s=599.9,
    )
    assert (ended["reason"], ended["returncode"]) == ("exited", 0)
    assert ended["soft_deadline_sent"] is True and "SIGUSR1" in ended["message"]
    assert (job.work / "saved").exists()


def test_the_soft_deadline_does_not_kill_a_program_that_does_not_listen(job: ShimJob) -> None:
    ended = job.run("import time; time.sleep(1000)", time_s=2, soft_deadline_s=1.9)
    assert (ended["reason"], ended["signal"]) == ("timeout", "SIGTERM")
    assert ended["soft_deadline_sent"] is False


def test_a_flood_of_output_is_bounded_and_its_ends_are_exact(job: ShimJob) -> None:
    cap, lines = 2**20, 2_000_000
    job.start(
        "import os, sys, time\n"
        f"block = ''.join(f'{{n:024}}\\n' for n in range({lines // 20}))\n"
        "for _ in range(20): sys.stdout.write(block)\n"
        "sys.stdout.flush()\n"
        "while not os.path.exists('go on'): time.sleep(0.01)",
        output_bytes=cap,
    )
    shim = job.read(job_files.STARTED)["shim_pid"]
    segment = job.record / "stdout.log.tail-46"  # of 50 MB, in MiB after the head
    until(segment.exists)
    status = Path(f"/proc/{shim}/status").read_text()
    peak_kb = int(status.partition("VmHWM:")[2].split()[0])
    (job.work / "go on").touch()
    ended = job.wait()

    block = "".join(f"{n:024}\n" for n in range(lines // 20)).encode()
    assert ended["stdout_bytes"] == 20 * len(block) == 50_000_000
    assert ended["dropped_bytes"] == 50_000_000 - cap
    mark = f"\n[agent_runner: {50_000_000 - cap} bytes dropped here]\n".encode()
    kept = (job.record / job_files.STDOUT).read_bytes()
    assert kept == block[: cap // 2] + mark + block[-cap // 2 :]
    assert [path.name for path in job.record.glob("stdout*")] == ["stdout.log"]
    assert peak_kb < 64 * 1024


def test_the_order_of_both_streams_is_kept(job: ShimJob) -> None:
    code = (
        "import os, select\n"
        "def empty(pipe):  # once the shim has read what was said\n"
        "    import fcntl, termios, struct\n"
        "    while struct.unpack('i', fcntl.ioctl(pipe, termios.FIONREAD, b'    '))[0]: pass\n"
        "for line in range(4):\n"
        "    pipe = 1 + line % 2\n"
        "    os.write(pipe, b'line %d\\n' % line); empty(pipe)\n"
        "os.write(1, b'last'); empty(1); os.write(1, b' word\\n')\n"
    )
    job.run(code)
    turns = [line.split() for line in (job.record / job_files.TURNS).read_text().splitlines()]
    assert [(name, size) for _, name, size in turns] == [
        ("stdout", "7"),
        ("stderr", "7"),
        ("stdout", "7"),
        ("stderr", "7"),
        ("stdout", "10"),
    ]
    times = [float(seconds) for seconds, _, _ in turns]
    assert times == sorted(times)


def test_a_forged_end_does_not_last(job: ShimJob) -> None:
    forged = job.record / job_files.EXIT
    ended = job.run(f"open({str(forged)!r}, 'w').write('{{}}'); raise SystemExit(3)")
    assert ended["returncode"] == 3


def test_the_temporary_folder_goes_with_the_job_and_no_other_does(job: ShimJob) -> None:
    folder = job.record.parent / f"{job_files.SCRATCH_PREFIX}abc"
    kept = job.record.parent / "elsewhere"
    for path in (folder, kept):
        path.mkdir()
        (path / "file").write_text("x")
    link = job.record / job_files.SCRATCH_LINK
    link.symlink_to(folder)
    # The program points the link somewhere else.
    job.run(f"import os; os.unlink({str(link)!r}); os.symlink({str(kept)!r}, {str(link)!r})")
    assert not folder.exists() and (kept / "file").exists()


def test_the_shim_needs_only_the_standard_library() -> None:
    code = (
        f"import sys; sys.path.append({str(ROOT)!r})\n"
        "import agent_runner.execution.shim\n"
        "print(*{name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names))"
    )
    command = [sys.executable, "-I", "-S", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(result.stdout.split()) <= {"agent_runner", "__main__"}
