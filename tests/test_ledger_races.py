"""Many threads and many processes at one ledger: exactly the budget, every number once."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent_runner.errors import LedgerError
from agent_runner.ledger import Ledger
from agent_runner.ledger.lock import WriterLock

BUDGET, RACERS = 10, 64


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    ledger.ensure()
    ledger.add_idea("idea", "An idea", max_runs=BUDGET)
    return ledger


def take_part(ledger: Ledger) -> int | None:
    """What one agent does: open an attempt, ask for a run, and be charged for it."""
    attempt = ledger.begin_attempt("idea", "sha", None)
    number = ledger.reserve_run("idea", attempt=attempt.number, tree="t", commit="c")
    if number is not None:
        ledger.settle_run("idea", number, charged=True, outcome="succeeded", reason="ran")
    return number


def assert_exactly_the_budget(ledger: Ledger, granted: list[int | None]) -> None:
    assert len(granted) == RACERS
    assert sorted(n for n in granted if n is not None) == list(range(1, BUDGET + 1))
    assert [row.number for row in ledger.attempts("idea")] == list(range(1, RACERS + 1))
    assert [row.state for row in ledger.runs("idea")] == ["spent"] * BUDGET
    assert ledger.budget("idea").left == 0


def test_64_threads_on_one_object_get_exactly_the_budget(ledger: Ledger) -> None:
    barrier = threading.Barrier(RACERS)

    def race(_: int) -> int | None:
        barrier.wait(timeout=60)
        return take_part(ledger)

    with ThreadPoolExecutor(RACERS) as pool:
        granted = list(pool.map(race, range(RACERS)))
    assert_exactly_the_budget(ledger, granted)


def _race(ledger: Ledger, barrier: object, granted: object) -> None:
    barrier.wait(60)  # type: ignore[attr-defined]
    granted.put(take_part(ledger))  # type: ignore[attr-defined]


def test_64_processes_get_exactly_the_budget(tmp_path: Path, ledger: Ledger) -> None:
    """Forked with the parent's object and its open connection, which they must not use."""
    assert ledger.budget("idea").left == BUDGET  # the connection is open
    context = multiprocessing.get_context("fork")
    barrier, granted = context.Barrier(RACERS), context.Queue()
    racers = [context.Process(target=_race, args=(ledger, barrier, granted)) for _ in range(RACERS)]
    for racer in racers:
        racer.start()
    numbers = [granted.get(timeout=120) for _ in racers]
    for racer in racers:
        racer.join(timeout=60)
    assert [racer.exitcode for racer in racers] == [0] * RACERS
    assert_exactly_the_budget(ledger, numbers)
    ledger.close()
    connection = sqlite3.connect(tmp_path / "ledger.sqlite3")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


ONE_OF_MANY = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from agent_runner.ledger import Ledger

    ledger = Ledger(Path(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(20):
        attempt = ledger.begin_attempt("idea", "sha", None)
        print(ledger.reserve_run("idea", attempt=attempt.number, tree="t", commit="c"), flush=True)
    """
)


def test_separate_programs_get_exactly_the_budget(tmp_path: Path, ledger: Ledger) -> None:
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", ONE_OF_MANY, str(tmp_path / "ledger.sqlite3")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for program in programs:
        assert program.stdout is not None and program.stdout.readline() == "ready\n"
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("go\n")
        program.stdin.flush()
    answers = [line for p in programs for line in p.communicate(timeout=60)[0].split()]
    assert [program.returncode for program in programs] == [0] * 4
    granted = sorted(int(answer) for answer in answers if answer != "None")
    assert granted == list(range(1, BUDGET + 1))
    assert len(ledger.attempts("idea")) == 80


KILLED = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    from agent_runner.ledger import Ledger, ledger as steps

    def killed(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    ledger = Ledger(Path(sys.argv[1]))
    attempt = ledger.begin_attempt("idea", "sha", None)
    if sys.argv[2] == "inside":
        steps._budget = killed
    ledger.reserve_run("idea", attempt=attempt.number, tree="t", commit="c")
    killed()
    """
)


@pytest.mark.parametrize(("when", "used"), [("inside", 0), ("after", 1)])
def test_a_process_killed_in_a_transaction_leaves_the_lock_and_nothing_half_written(
    when: str, used: int, tmp_path: Path, ledger: Ledger
) -> None:
    program = [sys.executable, "-c", KILLED, str(tmp_path / "ledger.sqlite3"), when]
    assert subprocess.run(program, timeout=60).returncode == -9
    assert ledger.budget("idea").used == used
    assert take_part(ledger) == used + 1


@contextlib.contextmanager
def locked_elsewhere(path: Path) -> Iterator[None]:
    """The lock as another process would hold it: another open file description."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def test_a_stuck_holder_ends_in_a_message(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    lock = WriterLock(path, wait_s=0)
    with (
        locked_elsewhere(path),
        pytest.raises(LedgerError, match="another process") as caught,
        lock.held(),
    ):
        pass
    assert str(path) in caught.value.remedy
    with lock.held():
        with pytest.raises(LedgerError, match="another thread"), lock.held():
            pass
        with pytest.raises(LedgerError, match="another process"), WriterLock(path, 0).held():
            pass
    with lock.held():
        pass


def test_a_forked_child_neither_holds_nor_waits_for_its_parents_lock(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    lock = WriterLock(path, wait_s=30)
    release_r, release_w = os.pipe()
    with lock.held():
        child = os.fork()
        if child == 0:  # lives on, with copies of every descriptor, until it is told to end
            os.read(release_r, 1)
            with lock.held():
                os._exit(0)
    with WriterLock(path, wait_s=0).held():  # free, although the child lives
        pass
    os.write(release_w, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(release_r)
    os.close(release_w)
