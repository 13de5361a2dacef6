"""The limits that a clock decides, on a clock of the test's own; memory and disk as they are counted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent_runner.execution import limits, process_tree, usage
from agent_runner.execution.job_files import Limits, Spec
from agent_runner.execution.limits import LimitWatch


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
