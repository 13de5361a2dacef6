"""The limits that a clock decides, on a clock of the test's own; those of memory, processes and disk."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shim_jobs import ROOT, ShimJob

from agent_runner.execution import cgroups, limits, process_tree, usage
from agent_runner.execution.job_files import Limits, Spec
from agent_runner.execution.limits import LimitWatch
from agent_runner.execution.usage import Disk, FileSystem

MIB = 2**20
GIB = 2**30


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(limits, "now", clock)
    return clock


def watch(folder: Path, **values: Any) -> LimitWatch:
    return LimitWatch(Spec("test", ("true",), str(folder), {}, str(folder), Limits(**values)))


def test_time_runs_from_the_start(tmp_path: Path, clock: Clock) -> None:
    watched = watch(tmp_path, time_s=10, soft_deadline_s=3)
    clock.time += 6.9
    assert watched.by_clock() is None and not watched.soft_deadline_has_come()
    clock.time += 0.2
    assert watched.by_clock() is None and watched.soft_deadline_has_come()
    clock.time += 3
    verdict = watched.by_clock()
    assert verdict is not None and verdict.reason == "timeout" and "10 s" in verdict.message


def test_silence_runs_from_the_last_output(tmp_path: Path, clock: Clock) -> None:
    watched = watch(tmp_path, no_output_s=5)
    clock.time += 4
    watched.last_output = clock.time
    clock.time += 4
    assert watched.by_clock() is None
    assert watched.next_deadline() <= clock.time + 1
    clock.time += 1
    verdict = watched.by_clock()
    assert verdict is not None and verdict.reason == "no_output"


def test_without_limits_nothing_ends_a_job(tmp_path: Path, clock: Clock) -> None:
    watched = watch(tmp_path)
    clock.time += 10**9
    assert watched.by_clock() is None and watched.by_usage() is None
    assert not watched.soft_deadline_has_come()


def test_disk_counts_what_was_written_since_the_start_and_follows_no_link(tmp_path: Path) -> None:
    work, elsewhere = tmp_path / "work", tmp_path / "elsewhere"
    work.mkdir()
    elsewhere.mkdir()
    (work / "data").write_bytes(b"x" * 3 * 2**20)
    watched = watch(work, disk_mb=2)
    (elsewhere / "big").write_bytes(b"x" * 5 * 2**20)
    (work / "link").symlink_to(elsewhere)
    (work / "stdout.log").write_bytes(b"x" * 5 * 2**20)
    assert watched._disk_use() is None
    (work / "run_1").mkdir()
    (work / "run_1" / "checkpoint").write_bytes(b"x" * 3 * 2**20)
    watched._next_disk = 0
    verdict = watched._disk_use()
    assert verdict is not None and verdict.reason == "disk" and "limit is 2 MiB" in verdict.message


def test_shared_memory_of_forked_workers_is_counted_once() -> None:
    code = """
import os, time
data = b"x" * (64 * 2**20)
for _ in range(3):
    if os.fork() == 0: break
print(os.getpid(), flush=True)
time.sleep(1000)
"""
    command = [sys.executable, "-I", "-S", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, process_group=0) as root:
        assert root.stdout is not None
        for _ in range(4):
            root.stdout.readline()
        tree = [process_tree.find(root.pid), *process_tree.descendants(root.pid)]
        known = [process for process in tree if process is not None]
        in_each, once = usage.rss_bytes(known), usage.pss_bytes(known)
        os.killpg(root.pid, signal.SIGKILL)
    assert len(known) == 4
    assert in_each > 4 * 64 * 2**20
    assert 64 * 2**20 < once < 2 * 64 * 2**20


def test_the_kernel_counts_out_of_memory_kills_somewhere() -> None:
    assert usage.oom_kill_counter()() >= 0
    assert usage._read_count("/proc/vmstat", "oom_kill") is not None
    assert usage._read_count("/proc/vmstat", "no such line") is None
    assert usage._read_count("/nowhere", "oom_kill") is None


def test_files_are_looked_at_sooner_while_a_job_writes_fast(tmp_path: Path, clock: Clock) -> None:
    watched = watch(tmp_path, disk_mb=10)
    clock.time += 1
    assert watched.by_usage() is None
    assert watched.next_look == clock.time + 0.5
    clock.time += 1
    (tmp_path / "data").write_bytes(b"x" * 8 * MIB)
    assert watched.by_usage() is None
    assert watched.next_look == pytest.approx(clock.time + 2 / 8 / 2, abs=0.01)
    clock.time += 0.125
    assert watched.by_usage() is None
    assert watched.next_look > clock.time + 0.3  # it has stopped writing


def test_a_look_at_the_disk_that_takes_long_is_not_soon_repeated(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = watch(tmp_path, disk_mb=10)
    clock.time += 1

    def slow(*_: Any) -> Disk:
        clock.time += 2
        return Disk(9 * MIB, 10)

    monkeypatch.setattr(usage, "disk_use", slow)
    assert watched._disk_use() is None
    assert watched._next_disk == clock.time + 2 * 20


def test_a_job_may_not_make_files_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MOST_FILES", 50)
    (tmp_path / "before").mkdir()
    for i in range(30):
        (tmp_path / "before" / str(i)).touch()
    watched = watch(tmp_path)
    (tmp_path / "made").mkdir()
    for i in range(49):
        (tmp_path / "made" / str(i)).touch()
    assert watched._disk_use() is None
    (tmp_path / "made" / "one more").touch()
    watched._next_disk = 0
    verdict = watched._disk_use()
    assert verdict is not None and verdict.reason == "disk"
    assert verdict.message == "more than 50 files were made, the limit for every job"


def test_a_file_with_several_names_takes_space_once(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"x" * 3 * MIB)
    for i in range(5):
        os.link(tmp_path / "data", tmp_path / str(i))
    used = usage.disk_use([str(tmp_path)])
    assert 3 * MIB <= used.bytes < 4 * MIB and used.entries == 6


def test_a_folder_that_lies_in_another_is_counted_once(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "data").write_bytes(b"x" * 3 * MIB)
    used = usage.disk_use([str(tmp_path), str(inner)])
    assert 3 * MIB <= used.bytes < 4 * MIB and used.entries == 2


def test_a_count_of_files_ends_when_it_is_enough(tmp_path: Path) -> None:
    for i in range(40):
        (tmp_path / str(i)).touch()
    assert usage.disk_use([str(tmp_path)], enough_entries=10).entries == 11
    assert usage.disk_use([str(tmp_path)], enough_entries=40).entries == 40


def test_a_file_that_could_not_grow_beyond_the_limit_is_seen_at_the_end(tmp_path: Path) -> None:
    watched = watch(tmp_path, disk_mb=2)
    assert watched.by_kernel() is None
    code = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (2 * 2**20, 2 * 2**20))
with open("data", "wb") as file: file.write(bytes(5 * 2**20))
"""
    command = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "File too large" in done.stderr
    assert watched.by_kernel() == ("disk", "2 MiB were written, the limit is 2 MiB")


# ---------------------------------------------------------------- free space


class FileSystems:
    """A file system of the test's own size. Nothing is written for it."""

    def __init__(self, size: int) -> None:
        self.size = self.free = size
        self.written = 0

    def file_system(self, path: str) -> FileSystem:
        return FileSystem(self.free, self.size)

    def disk_use(self, *_: Any) -> Disk:
        return Disk(self.written, 1)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FileSystems:
    disk = FileSystems(200 * GIB)
    monkeypatch.setattr(usage, "file_system", disk.file_system)
    monkeypatch.setattr(usage, "disk_use", disk.disk_use)
    return disk


def verdict_now(watched: LimitWatch) -> limits.Verdict | None:
    watched._next_disk = 0
    return watched.by_usage()


def test_who_writes_a_file_system_full_is_ended_before_it_is(
    tmp_path: Path, disk: FileSystems
) -> None:
    watched = watch(tmp_path)
    disk.free, disk.written = GIB, 199 * GIB
    assert verdict_now(watched) is None
    disk.free -= 1
    verdict = verdict_now(watched)
    assert verdict is not None and verdict.reason == "disk"
    assert watched.by_kernel() == verdict  # also when it has failed by itself between two looks
    assert "1023 MiB are free" in verdict.message and "wrote 203776 MiB" in verdict.message


def test_who_has_not_written_it_full_goes_on_until_nearly_nothing_is_left(
    tmp_path: Path, disk: FileSystems
) -> None:
    watched = watch(tmp_path)
    disk.free, disk.written = GIB // 2, 64 * MIB
    assert verdict_now(watched) is None
    disk.free = GIB // 4 - 1
    verdict = verdict_now(watched)
    # Others have filled it. One that has failed by itself may have had its own reasons.
    assert verdict is not None and verdict.reason == "disk_full"
    assert verdict.message.endswith("it wrote 64 MiB")
    assert watched.by_kernel() is None


def test_where_it_was_full_before_a_writer_is_ended_and_is_not_to_blame(
    tmp_path: Path, disk: FileSystems
) -> None:
    disk.free = 0
    watched = watch(tmp_path)
    disk.written = 64 * MIB
    assert verdict_now(watched) is None
    disk.written += 1
    verdict = verdict_now(watched)
    assert verdict is not None and verdict.reason == "disk_full"


@pytest.mark.parametrize(
    ("disk_mb", "wrote", "reason"),
    [
        (None, 101 * MIB, "disk"),
        (None, 100 * MIB, "disk_full"),
        (1000, 200 * MIB, "disk_full"),
        (150, 151 * MIB, "disk"),  # it is its own limit that it broke
    ],
)
def test_its_own_doing_is_more_than_half_of_the_room_that_nobody_promised_it(
    tmp_path: Path, disk: FileSystems, disk_mb: int | None, wrote: int, reason: str
) -> None:
    disk.free = GIB + 200 * MIB
    watched = watch(tmp_path, disk_mb=disk_mb)
    disk.free, disk.written = GIB - 1, wrote
    verdict = verdict_now(watched)
    assert verdict is not None and verdict.reason == reason
    by_kernel = watched.by_kernel()
    assert (by_kernel is not None) == (reason == "disk")


@pytest.mark.parametrize(("size", "floor"), [(64 * MIB, 64 * MIB // 50), (10 * 1024 * GIB, GIB)])
def test_the_floor_is_a_share_of_a_small_file_system(
    tmp_path: Path, disk: FileSystems, size: int, floor: int
) -> None:
    disk.size = disk.free = size
    watched = watch(tmp_path)
    disk.written = size
    disk.free = floor
    assert verdict_now(watched) is None
    disk.free = floor - 1
    assert verdict_now(watched) is not None


def test_a_file_system_that_tells_nothing_ends_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert usage.file_system(str(tmp_path / "nowhere")) is None
    monkeypatch.setattr(usage, "file_system", lambda path: None)
    assert watch(tmp_path).by_usage() is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 16 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("cannot mount a file system here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_job_that_fills_a_real_file_system_is_ended(small_disk: Path) -> None:
    exit_ = ShimJob(small_disk).run("""
import os, time
with open("data", "wb") as file:
    try:
        while True: file.write(bytes(65536)); file.flush()
    except OSError: os.truncate("data", os.path.getsize("data") - 65536)
    while True: time.sleep(1000)
""")
    assert exit_["reason"] == "disk" and "0 MiB are free" in exit_["message"]


# ---------------------------------------------------------------- processes


def test_threads_count_as_processes_do(job: ShimJob) -> None:
    exit_ = job.run(
        "import threading, time\n"
        "for _ in range(20): threading.Thread(target=time.sleep, args=(1000,)).start()\n",
        processes=12,
    )
    assert exit_["reason"] == "processes"
    assert exit_["message"] == "1 process with 21 threads in all, the limit is 12"


def test_a_process_that_has_ended_counts_as_one_thread() -> None:
    assert usage.threads([process_tree.Process(2**22 + 1, 1, 0, 0)]) == 1
    assert usage.threads([]) == 0


# ---------------------------------------------------------------- cgroups


class Counts:
    """A cgroup whose counts the test sets."""

    peak = killed = refused = 0
    full = False

    def peak_memory_bytes(self) -> int:
        return self.peak

    def oom_kills(self) -> int:
        return self.killed

    def ran_out_of_memory(self) -> bool:
        return self.full

    def process_limit_hits(self) -> int:
        return self.refused


@pytest.fixture
def counts() -> Counts:
    return Counts()


def watch_in(cgroup: limits.JobCgroup, folder: Path, **values: Any) -> LimitWatch:
    spec = Spec("test", ("true",), str(folder), {}, str(folder), Limits(**values))
    return LimitWatch(spec, cgroup)


def test_what_the_kernel_kills_at_the_limit_is_a_verdict(
    tmp_path: Path, counts: Counts, clock: Clock
) -> None:
    watched = watch_in(counts, tmp_path, memory_mb=64)
    assert watched.by_usage() is None and watched.by_kernel() is None
    counts.killed, counts.full, counts.peak = 1, True, 64 * MIB
    assert watched.by_usage() is None  # the next look has not come
    verdict = watched.by_kernel()
    clock.time += 1
    assert (
        watched.by_usage()
        == verdict
        == ("memory", "the kernel killed 1 process of it at the limit of 64 MiB")
    )
    assert watched.oom_kills == 1 and watched.notes == [] and watched.oom_own_limit is True


def test_what_the_kernel_kills_elsewhere_is_a_note(tmp_path: Path, counts: Counts) -> None:
    watched = watch_in(counts, tmp_path, memory_mb=64)
    assert watched.oom_own_limit is None
    counts.killed = 2
    assert watched.by_kernel() is None and watched.oom_own_limit is False
    assert len(watched.notes) == 1 and "killed 2 processes" in watched.notes[0]
    assert "elsewhere" in watched.notes[0]


def test_a_refused_fork_is_a_note_and_no_verdict(tmp_path: Path, counts: Counts) -> None:
    watched = watch_in(counts, tmp_path, processes=8)
    assert watched.notes == []
    counts.refused = 3
    assert watched.by_usage() is None
    [note] = watched.notes
    assert note == "fork was refused 3 times at the limit of 8 processes, threads included"


def test_figures_outlive_the_cgroup(tmp_path: Path, counts: Counts) -> None:
    watched = watch_in(counts, tmp_path, memory_mb=64, processes=8)
    counts.killed, counts.full, counts.peak, counts.refused = 1, True, 64 * MIB, 1
    assert watched.by_kernel() is not None
    counts.killed = counts.peak = counts.refused = 0
    counts.full = False
    assert watched.by_kernel() is not None
    assert (watched.oom_kills, watched.peak_memory, len(watched.notes)) == (1, 64 * MIB, 1)


def test_a_cgroup_is_asked_and_the_process_tree_is_not(
    tmp_path: Path, counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(process_tree, "descendants", asked.append)
    assert watch_in(counts, tmp_path, memory_mb=1, processes=1).by_usage() is None
    assert asked == []


@pytest.mark.skipif(
    cgroups.available() is None, reason=f"no cgroups here: {cgroups.why_unavailable()}"
)
def test_a_real_cgroup_ends_a_real_hog(tmp_path: Path) -> None:
    """Its worker is killed, it goes on: that is seen by the count alone."""
    name = f"{cgroups.PREFIX}test-limits-{os.getpid()}"
    cgroup = cgroups.Cgroup.create(name, memory_bytes=64 * MIB, processes=16)
    try:
        watched = watch_in(cgroup, tmp_path, memory_mb=64, processes=16)
        assert watched.by_usage() is None
        code = "import os\nif os.fork() == 0: bytearray(300 * 2**20)\nos.wait()\nprint(1, flush=True); input()"
        command = [sys.executable, "-I", "-S", "-c", code]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(command, preexec_fn=cgroup.enter, **pipes) as root:
            assert root.stdout is not None and root.stdout.readline()
            verdict = watched.by_kernel()
            assert cgroup.kill()
    finally:
        cgroup.kill()
        cgroup.remove()
    assert verdict is not None and verdict.reason == "memory" and "64 MiB" in verdict.message
    assert 60 * MIB < watched.peak_memory <= 64 * MIB


# ---------------------------------------------------------------- without declared limits


def test_what_is_not_declared_is_bounded_by_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "machine_memory_bytes", lambda: 10 * GIB)
    assert limits.within_machine(Limits()) == Limits(processes=4096, memory_mb=9 * 1024)
    declared = Limits(time_s=5, disk_mb=7, processes=100_000, memory_mb=100_000)
    assert limits.within_machine(declared) == declared
    monkeypatch.setattr(usage, "machine_memory_bytes", lambda: None)
    assert limits.within_machine(Limits()) == Limits(processes=4096)


def test_the_memory_of_this_machine() -> None:
    memory = usage.machine_memory_bytes()
    total = re.search(r"MemTotal: +(\d+) kB", Path("/proc/meminfo").read_text())
    assert total is not None and memory == int(total[1]) * 1024


def test_a_fork_bomb_without_a_declared_limit_is_ended(job: ShimJob) -> None:
    """With a lower limit of the machine's: a real one would take this machine's processes."""
    driver = job._driver.read_text().replace("import shim,", "import limits, shim,")
    job._driver.write_text(
        driver.replace("supervisor.GRACE_S", "limits._MOST_PROCESSES = 12\nsupervisor.GRACE_S", 1)
    )
    exit_ = job.run(
        "import os, time\nfor _ in range(20):\n    if os.fork() == 0: break\ntime.sleep(1000)"
    )
    assert (exit_["reason"], exit_["message"]) == ("processes", "21 processes, the limit is 12")


# ---------------------------------------------------------------- setrlimit


def test_resource_limits_of_a_job() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    plain = dict(limits.resource_limits(Limits(processes=8), own_user=False))
    assert plain.keys() == {resource.RLIMIT_CORE, resource.RLIMIT_NOFILE}
    assert plain[resource.RLIMIT_CORE] == (0, 0)
    assert plain[resource.RLIMIT_NOFILE] == (min(4096, most), most)
    own = dict(limits.resource_limits(Limits(processes=8, disk_mb=3), own_user=True))
    assert own[resource.RLIMIT_NPROC] == (8, 8)
    assert own[resource.RLIMIT_FSIZE] == (3 * MIB, 3 * MIB)
    assert resource.RLIMIT_NPROC not in dict(limits.resource_limits(Limits(), own_user=True))


BOUND = st.one_of(st.just(resource.RLIM_INFINITY), st.integers(0, 2**40))


@given(BOUND, BOUND, st.integers(1, 2**20))
def test_no_bound_is_above_our_own_and_no_soft_one_above_the_hard_one(
    ours: int, soft_of_ours: int, disk_mb: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resource, "getrlimit", lambda kind: (soft_of_ours, ours))
        wanted = limits.resource_limits(Limits(disk_mb=disk_mb, processes=8), own_user=True)
    assert len(wanted) == 4
    for _, (soft, hard) in wanted:
        assert ours == resource.RLIM_INFINITY or 0 <= hard <= ours
        assert hard == resource.RLIM_INFINITY or 0 <= soft <= hard


def test_resource_limits_are_set_and_bind(tmp_path: Path) -> None:
    """In a process with a lower hard bound, which stays."""
    code = f"""
import os, resource, sys
sys.path.append({str(ROOT)!r})
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128))
from agent_runner.execution import limits
from agent_runner.execution.job_files import Limits
for kind, bounds in limits.resource_limits(Limits(disk_mb=2), own_user=False):
    resource.setrlimit(kind, bounds)
print(resource.getrlimit(resource.RLIMIT_NOFILE))
try:
    with open("data", "wb") as file:
        for _ in range(5): file.write(bytes(2**20)); file.flush()
except OSError as error:
    print(error.strerror, os.path.getsize("data"))
"""
    command = [sys.executable, "-I", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["(128, 128)", f"File too large {2 * MIB}"]
