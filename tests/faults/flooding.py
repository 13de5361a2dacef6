"""500 MB of output through the shim, and what memory and disk they cost."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fault_homes import reply
from fault_processes import below, named

from agent_runner import Runner
from agent_runner.executors import LocalExecutor
from agent_runner.records import JobSpec, Limits, Observation

MEGABYTES = 500
CAP = 16 * 1024 * 1024
ALLOWED_GROWTH = 64 * 1024 * 1024
LAST_WORDS = "".join(f"line {number}\n" for number in range(20_000)).encode()
_FLOOD = f"""
import os
block = (b"x" * 1023 + b"\\n") * 1024
for _ in range({MEGABYTES}):
    view = memoryview(block)
    while view:
        view = view[os.write(1, view):]
view = memoryview(b"".join(b"line %d\\n" % number for number in range(20_000)))
while view:
    view = view[os.write(1, view):]
"""


def peak_bytes(pid: int) -> int:
    """The most resident memory a process ever had; 0 when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


@dataclass
class Peaks:
    """Peak memory of the shims of a folder: when each was first seen, and at last."""

    first: dict[int, int] = field(default_factory=dict)
    last: dict[int, int] = field(default_factory=dict)

    @property
    def growth(self) -> int:
        assert self.last, "no shim was ever seen"
        return max(self.last[pid] - self.first[pid] for pid in self.last)


@contextmanager
def watched_shims(folder: Path) -> Iterator[Peaks]:
    """Look at the shims again and again, from another thread."""
    peaks, over = Peaks(), threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            for process in named(below(folder), "shim.py"):
                if size := peak_bytes(process.pid):
                    peaks.first.setdefault(process.pid, size)
                    peaks.last[process.pid] = size

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peaks
    finally:
        over.set()
        thread.join()


def flood_spec(folder: Path) -> JobSpec:
    record = folder / "record"
    (folder / "work").mkdir(parents=True)
    return JobSpec(
        job_id="flood",
        argv=(sys.executable, "-I", "-S", "-c", _FLOOD),
        cwd=str(folder / "work"),
        env={"PATH": os.defpath, "AGENT_RUNNER_RECORD_DIR": str(record)},
        record_dir=str(record),
        limits=Limits(time_s=300, output_bytes=CAP),
    )


def flood(folder: Path) -> int:
    """In a server process: one flooding job. Returns by how much the server's peak memory has grown."""
    before = peak_bytes(os.getpid())
    ended = LocalExecutor().start(flood_spec(folder)).wait()
    assert ended is not None and ended.returncode == 0, ended
    assert ended.stdout_bytes == MEGABYTES * 1024 * 1024 + len(LAST_WORDS)
    return peak_bytes(os.getpid()) - before


def propose_flood(home: Path, idea: str) -> tuple[int, Observation]:
    """In a server process: a proposal whose run floods, and by how much the server's peak memory has grown."""
    runner = Runner(home)
    before = peak_bytes(os.getpid())
    observation = runner.propose(idea, reply(0, 1, modes=("plain", "flood")))
    return peak_bytes(os.getpid()) - before, observation


def check_log(log: Path) -> None:
    """Capped, and its end is the very end of what was said."""
    assert log.stat().st_size <= CAP + 200
    with open(log, "rb") as file:
        assert file.read(1024) == b"x" * 1023 + b"\n"
        file.seek(-len(LAST_WORDS) - 1024, os.SEEK_END)
        assert file.read() == b"x" * 1023 + b"\n" + LAST_WORDS
