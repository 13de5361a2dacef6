"""Full and failing disks: a plain error, nothing half written, and on it goes when the fault is over."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent_runner.errors import LedgerError
from agent_runner.ledger import Ledger

BUDGET = 100_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=1m", "tmpfs"]
    mounted = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Use every byte that is left."""
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


def reserve(ledger: Ledger) -> int | None:
    attempt = ledger.begin_attempt("idea", "sha", None)
    return ledger.reserve_run("idea", attempt=attempt.number, tree="t", commit="c")


def test_a_full_disk_stops_the_ledger_and_harms_nothing(small_disk: Path) -> None:
    ledger = Ledger(small_disk / "ledger.sqlite3")
    ledger.ensure()
    ledger.add_idea("idea", "An idea", BUDGET)
    granted = [reserve(ledger) for _ in range(3)]
    for _ in range(3):  # the same object, fault after fault
        ballast = fill(small_disk)
        refusals = []
        for _ in range(5):  # what is freed after a failure may be enough for the next step
            try:
                granted.append(reserve(ledger))
            except LedgerError as error:
                refusals.append(error)
        assert refusals
        for error in refusals:
            assert "nothing was half written" in error.message
            assert "nothing is charged" in error.message
            assert "disk" in error.message and "disk" in error.remedy
        ballast.unlink()
        assert [row.number for row in ledger.runs("idea")] == granted
        granted.append(reserve(ledger))
    assert granted == list(range(1, len(granted) + 1))
    assert ledger.budget("idea").used == len(granted)
    ledger.close()
    with closing(sqlite3.connect(small_disk / "ledger.sqlite3")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_settlement_that_fails_says_that_the_run_still_counts(small_disk: Path) -> None:
    ledger = Ledger(small_disk / "ledger.sqlite3")
    ledger.ensure()
    ledger.add_idea("idea", "An idea", BUDGET)
    numbers = [reserve(ledger) for _ in range(20)]
    ballast = fill(small_disk)
    failed: list[int] = []
    for number in numbers:
        assert number is not None
        try:
            ledger.settle_run("idea", number, charged=False, outcome="lost", reason="lost")
        except LedgerError as error:
            assert f"run {number} stays reserved, and counts" in error.message
            failed.append(number)
    assert failed
    ballast.unlink()
    reserved = [row.number for row in ledger.runs("idea") if row.state == "reserved"]
    assert reserved == failed
    for number in failed:
        ledger.settle_run("idea", number, charged=False, outcome="lost", reason="lost")
    assert ledger.budget("idea").used == 0


def test_no_ledger_can_be_made_on_a_full_disk_and_then_it_can(small_disk: Path) -> None:
    ballast = fill(small_disk)
    ledger = Ledger(small_disk / "ledger.sqlite3")
    with pytest.raises(LedgerError, match="disk"):
        ledger.ensure()
    ballast.unlink()
    ledger.ensure()
    ledger.add_idea("idea", "An idea", BUDGET)
    assert reserve(ledger) == 1


# ---------------------------------------------------------------- a disk that reports errors

STEPS = textwrap.dedent(
    """
    import json, os, signal, sys
    from pathlib import Path
    from agent_runner.errors import LedgerError
    from agent_runner.ledger import Ledger

    ledger = Ledger(Path(sys.argv[1]))
    attempts, granted, errors = 0, [], []
    for _ in range(8):
        try:
            attempt = ledger.begin_attempt("idea", "sha", None)
            attempts += 1
            granted.append(ledger.reserve_run("idea", attempt=attempt.number, tree="t", commit="c"))
        except LedgerError as error:
            errors.append(error.message)
            if sys.argv[2] == "die":
                print(json.dumps([attempts, len(granted)]), flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
    print(json.dumps([granted, errors, [row.number for row in ledger.runs("idea")]]))
    """
)


def with_io_error(path: Path, call: str, nth: int, then: str) -> subprocess.CompletedProcess[str]:
    """Run STEPS, where the nth such system call fails."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    inject = ["-f", "-qq", "-o", os.devnull, "-e", f"trace={call}"]
    inject += ["-e", f"inject={call}:error=EIO:when={nth}"]
    ended = subprocess.run(
        [strace, *inject, sys.executable, "-c", STEPS, str(path), then],
        capture_output=True,
        text=True,
        timeout=120,
    )
    if "ptrace" in ended.stderr.lower():
        pytest.skip(f"processes cannot be traced here: {ended.stderr.strip()}")
    return ended


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed ledger."""
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    ledger.ensure()
    ledger.add_idea("idea", "An idea", BUDGET)
    ledger.close()
    return ledger.path


@pytest.mark.parametrize("call", ["fsync,fdatasync", "pwrite64"])
@pytest.mark.parametrize("nth", [1, 3, 6, 9])
def test_an_io_error_fails_one_step_and_no_other(path: Path, call: str, nth: int) -> None:
    ended = with_io_error(path, call, nth, "go on")
    assert ended.returncode == 0, ended.stderr
    granted, errors, rows = json.loads(ended.stdout)
    assert len(errors) == 1 and len(granted) == 7
    assert "nothing was half written: no " in errors[0] and "I/O error" in errors[0]
    assert rows == granted == list(range(1, 8))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


HOLDER = """
import sys
from pathlib import Path
from agent_runner.ledger import Ledger

ledger = Ledger(Path(sys.argv[1]))
print(ledger.ideas(), flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("nth", [4, 5, 6, 7])
def test_a_commit_that_failed_does_not_come_back_from_the_log(path: Path, nth: int) -> None:
    """Its last fsync fails, so that it lies whole in the log; then everybody is killed.

    Another process has the file open, so that no closing tidies up the log.
    """
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "['idea']\n"
        ended = with_io_error(path, "fsync,fdatasync", nth, "die")
        holder.kill()
    assert ended.returncode in (-9, 137), ended.stderr
    ledger = Ledger(path)
    acknowledged = json.loads(ended.stdout)
    assert [len(ledger.attempts("idea")), len(ledger.runs("idea"))] == acknowledged
    assert reserve(ledger) == acknowledged[1] + 1
