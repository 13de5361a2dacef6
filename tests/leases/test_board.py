"""The files of the desk: against a model, and with a kill after every single call of the system."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_nvml import GIB
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from lease_workers import FORK, PATIENCE_S, desk_of, never, shim, silent, some_gpus, take
from queue_model import Model, ask, demands

from agent_runner.errors import ExecutorError
from agent_runner.leases import LeaseDesk
from agent_runner.leases.board import Board
from agent_runner.leases.remembered import Quarantined, Use
from agent_runner.leases.tickets import Hold


class BoardMachine(RuleBasedStateMachine):
    """Requests come, end and are killed; after each step the files say what the model says."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="agent_runner-board-"))
        self.board = Board(self.folder)
        self.model = Model(2, 2)
        self.holds: dict[int, Hold] = {}  # by the model's number

    def teardown(self) -> None:
        for hold in self.holds.values():
            hold.let_go()
        shutil.rmtree(self.folder)

    @rule(holder=st.sampled_from("xyz"), gpus=demands)
    def arrive(self, holder: str, gpus: float) -> None:
        self.model.arrive(holder, gpus)
        number = self.model.number
        self.holds[number] = self.board.enter(self.model.waiting[number])
        self.model.deal()

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.board.leave(self._pick(data))
        self.model.deal()

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        self._pick(data).let_go()  # all that the kernel does for a killed process
        os.utime(self.folder / "desk.lock", (0, 0))
        self.board.deal_if_due()
        self.model.deal()

    def _pick(self, data: st.DataObject) -> Hold:
        number = data.draw(st.sampled_from(sorted(self.holds)))
        self.model.held.pop(number, None)
        self.model.waiting.pop(number, None)
        return self.holds.pop(number)

    @invariant()
    def agrees(self) -> None:
        numbers = {hold.number: number for number, hold in self.holds.items()}
        held, waiting = self.board.tickets()
        found = {numbers[t.request.number]: t.slots for t in held}
        assert found == self.model.held
        assert sorted(numbers[t.request.number] for t in waiting) == sorted(self.model.waiting)
        for number, hold in self.holds.items():
            assert hold.look().slots == self.model.held.get(number)


TestBoardAgainstModel = BoardMachine.TestCase
TestBoardAgainstModel.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)


def test_a_gpu_that_others_use_is_put_away_only_if_it_is_lost(tmp_path: Path) -> None:
    """Its memory is theirs; they came while this one looked."""
    board, (gpu,) = Board(tmp_path), some_gpus(1)
    first, second = (board.enter(ask(0, name, 0.5, (gpu.uuid,))) for name in "xy")
    board.start_using(second, [(gpu.uuid, Use("y", GIB))])
    item = Quarantined.now(gpu, "8 GiB are in use", "x")
    board.put_away(first, item, lost=False)
    assert board.unusable() == frozenset()
    board.put_away(first, item, lost=True)
    assert board.unusable() == {gpu.uuid}
    board.leave(first)
    board.leave(second)


# What the desk asks of the system; a child dies after the n-th of these calls.
CALLS = (
    (os, ("open", "write", "close", "unlink", "replace", "fsync", "utime", "listdir")),
    (fcntl, ("flock",)),
)


def _die_after(count: int) -> None:
    left = count

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            answer = call(*args, **kwargs)
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return wrapper

    for module, names in CALLS:
        for name in names:
            setattr(module, name, counted(getattr(module, name)))


def _killed_after(
    count: int, desk: LeaseDesk, record_dir: Path, *, release: bool
) -> tuple[bool, bool]:
    """Run one lease in a child that dies after `count` calls. Was it killed; had it bound its lease?"""
    bound = FORK.Event()

    def live() -> None:
        _die_after(count)
        lease = desk.acquire("x", 2, cancelled=never, progress=silent)
        lease.bind(record_dir)
        bound.set()
        if release:
            lease.release()
        os.kill(os.getpid(), signal.SIGTERM)

    process = FORK.Process(target=live)
    process.start()
    process.join(PATIENCE_S)
    assert process.exitcode in (-signal.SIGKILL, -signal.SIGTERM)
    return process.exitcode == -signal.SIGKILL, bound.is_set()


def test_a_kill_after_any_call_leaves_nothing_taken(tmp_path: Path) -> None:
    count, killed = 0, True
    while killed:
        count += 1
        desk, _ = desk_of(tmp_path, gpus=2)
        killed, _ = _killed_after(count, desk, tmp_path / "runs" / "1", release=True)
        with take(desk, "y", 2) as lease:
            assert len(lease.gpus) == 2
        assert desk.state().held == () and desk.quarantined() == ()
    assert count > 40  # so many calls were interrupted


def test_a_kill_after_any_call_keeps_a_bound_lease_while_its_job_lives(tmp_path: Path) -> None:
    record_dir = tmp_path / "runs" / "1"
    count, killed, kept = 0, True, 0
    while killed:
        count += 1
        desk, _ = desk_of(tmp_path, gpus=2)
        with shim(record_dir):
            killed, bound = _killed_after(count, desk, record_dir, release=False)
            held = desk.state().held
            if bound:
                assert [item.who for item in held] == ["x run_1"]
                kept += 1
            assert len(held) <= 1
        with take(desk, "y", 2):
            pass
    assert count > 30 and kept > 0


def test_full_disk_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write fails once, then the disk has room again."""
    real, failed = os.write, 0
    for count in range(1, 4):
        left = count

        def write(descriptor: int, data: bytes) -> int:
            nonlocal left
            left -= 1
            if left == 0:
                return real(descriptor, data[: len(data) // 2])  # all that fits
            return real(descriptor, data)

        desk, _ = desk_of(tmp_path, gpus=1)
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", write)
            try:
                take(desk, "x", 1).release()
            except ExecutorError as error:
                assert "No space left" in error.message
                failed += 1
        assert desk.state().held == () and desk.state().queue == ()
        take(desk, "x", 1).release()
    assert failed == 3


def test_a_line_that_was_cut_short_is_as_good_as_not_written(tmp_path: Path) -> None:
    desk, _ = desk_of(tmp_path)
    lease = take(desk, "x")
    (ticket,) = (tmp_path / "leases" / "tickets").iterdir()
    with ticket.open("ab") as file:
        file.write(b'\n{"job": "/some')
    assert [item.who for item in desk.state().held] == ["x"]
    lease.bind(tmp_path / "runs" / "4")
    assert [item.who for item in desk.state().held] == ["x run_4"]
    lease.release()


def test_slots_of_an_unknown_ticket_are_nobodys(tmp_path: Path) -> None:
    """A file that is no ticket of ours, and which nobody holds, is cleared away."""
    tickets = tmp_path / "leases" / "tickets"
    tickets.mkdir(parents=True)
    (tickets / "5").write_bytes(b"rubbish")
    (tickets / "notes.txt").write_bytes(b"not looked at")
    desk, _ = desk_of(tmp_path)
    with take(desk, "x"):
        assert sorted(path.name for path in tickets.iterdir()) == ["1", "notes.txt"]
