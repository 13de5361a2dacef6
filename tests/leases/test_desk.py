"""The desk as its clients see it: real processes, real locks, real kills."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from fake_nvml import GIB, Board, FakeNvml, Process
from lease_workers import (
    FORK,
    PATIENCE_S,
    FakeMonitor,
    Server,
    desk_of,
    never,
    seat,
    shim,
    silent,
    take,
    until,
)

from agent_runner.errors import ExecutorError, UsageError
from agent_runner.leases import Cancelled, Gpu, Lease, LeaseDesk, default_cpu_slots


class Asking:
    """A thread that asks for a lease, and what becomes of it."""

    def __init__(self, desk: LeaseDesk, holder: str, gpus: float, label: str = "") -> None:
        self.told: list[str] = []
        self.result: Lease | Exception | None = None
        self.polls = 0
        self._gave_up = threading.Event()
        self._thread = threading.Thread(target=self._ask, args=(desk, holder, gpus, label))
        self._thread.daemon = True
        self._thread.start()

    def _ask(self, desk: LeaseDesk, holder: str, gpus: float, label: str) -> None:
        try:
            self.result = desk.acquire(
                holder, gpus, label=label, cancelled=self._cancelled, progress=self._progress
            )
        except (Cancelled, ExecutorError) as error:
            self.result = error

    def _cancelled(self) -> bool:
        self.polls += 1
        return self._gave_up.is_set()

    def _progress(self, stage: str, text: str) -> None:
        assert stage == "queue"
        self.told.append(text)

    def waits(self) -> None:
        """Wait until it stands in the queue and others had time enough to let it pass by mistake."""
        until(lambda: self.told or self.result)
        seen = self.polls
        until(lambda: self.result or self.polls > seen + 4)
        assert self.result is None, "it got a lease"

    def cancel(self) -> Exception:
        self._gave_up.set()
        error = self._end()
        assert isinstance(error, Exception)
        return error

    def lease(self) -> Lease:
        lease = self._end()
        assert isinstance(lease, Lease), lease
        return lease

    def error(self) -> Exception:
        error = self._end()
        assert isinstance(error, Exception), error
        return error

    def _end(self) -> Lease | Exception | None:
        self._thread.join(PATIENCE_S)
        return self.result


def asking(desk: LeaseDesk, holder: str, gpus: float = 0, label: str = "") -> Asking:
    """An asking thread that stands in the queue."""
    thread = Asking(desk, holder, gpus, label)
    until(lambda: thread.told or thread.result)
    return thread


@pytest.fixture
def cpu(tmp_path: Path) -> Iterator[LeaseDesk]:
    """One CPU slot."""
    desk, _ = desk_of(tmp_path)
    yield desk
    state = desk.state()
    assert (state.cpu_taken, state.held, state.queue) == (0, (), ()), "something was left behind"


class TestCpuSlots:
    def test_one_after_the_other(self, cpu: LeaseDesk) -> None:
        first = take(cpu, "x")
        assert (first.gpus, first.devices, first.before) == ((), (), ())
        second = asking(cpu, "y")
        second.waits()
        first.release()
        first.release()  # again: does nothing
        second.lease().release()

    def test_a_cpu_slot_shows_the_run_no_gpu(self, tmp_path: Path) -> None:
        desk, _ = desk_of(tmp_path, gpus=1)
        with take(desk, "x") as lease:
            assert lease.environment == {
                "CUDA_VISIBLE_DEVICES": "",
                "NVIDIA_VISIBLE_DEVICES": "void",
            }

    def test_without_gpus_a_run_that_asks_for_one_gets_a_cpu_slot(self, cpu: LeaseDesk) -> None:
        with take(cpu, "x", 2) as lease:
            assert lease.gpus == ()
            assert cpu.state().cpu_taken == 1

    def test_a_lease_is_given_back_when_its_block_fails(self, cpu: LeaseDesk) -> None:
        with pytest.raises(ZeroDivisionError), take(cpu, "x"):
            raise ZeroDivisionError
        assert cpu.state().cpu_taken == 0

    def test_there_is_at_least_one(self, tmp_path: Path) -> None:
        assert default_cpu_slots() >= 1
        with pytest.raises(ValueError, match="at least one"):
            LeaseDesk(tmp_path, (), 0)

    def test_a_folder_that_cannot_be_used_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "leases").write_text("a file in the way")
        desk, _ = desk_of(tmp_path)
        with pytest.raises(ExecutorError, match="no slot could be taken") as caught:
            take(desk, "x")
        assert "leases" in caught.value.remedy


class TestQueue:
    def test_the_idea_served_least_recently_goes_first(self, cpu: LeaseDesk) -> None:
        lease = take(cpu, "x")
        again, other = asking(cpu, "x"), asking(cpu, "y")
        lease.release()
        lease = other.lease()
        assert again.result is None
        lease.release()
        again.lease().release()

    def test_one_ideas_requests_keep_their_order(self, cpu: LeaseDesk) -> None:
        lease = take(cpu, "y")
        first = asking(cpu, "x")
        second = asking(cpu, "x")
        lease.release()
        lease = first.lease()
        assert second.result is None
        lease.release()
        second.lease().release()

    def test_the_place_in_the_queue_is_told(self, cpu: LeaseDesk, tmp_path: Path) -> None:
        lease = take(cpu, "x")
        lease.bind(tmp_path / "ideas" / "x" / "runs" / "3")
        first, second = asking(cpu, "y"), asking(cpu, "z")
        assert first.told == ["waiting for a CPU slot: you are next; held by x run_3"]
        assert second.told == ["waiting for a CPU slot: 1 before you; held by x run_3"]
        first.cancel()
        until(lambda: second.told[-1].startswith("waiting for a CPU slot: you are next"))
        second.cancel()
        lease.release()

    def test_a_label_names_the_job_and_the_turns_are_still_the_ideas(
        self, cpu: LeaseDesk, tmp_path: Path
    ) -> None:
        lease = take(cpu, "x", label="run_3")
        assert [held.who for held in cpu.state().held] == ["x run_3"]
        lease.bind(tmp_path / "runs" / "3")
        assert [held.who for held in cpu.state().held] == ["x run_3"]
        again, other = asking(cpu, "x", label="run_4"), asking(cpu, "y", label="baseline")
        assert again.told == ["waiting for a CPU slot: you are next; held by x run_3"]
        # `x` was served last, under another label: `y` goes first.
        assert [waiting.who for waiting in cpu.state().queue] == ["y baseline", "x run_4"]
        assert str(again.cancel()) == "x run_4 does not want a slot any more"
        lease.release()
        other.lease().release()

    def test_cancelling_ends_the_wait(self, cpu: LeaseDesk) -> None:
        lease = take(cpu, "x")
        waiting = asking(cpu, "y")
        assert isinstance(waiting.cancel(), Cancelled)
        assert cpu.state().queue == ()
        with pytest.raises(Cancelled):
            cpu.acquire("y", 0, cancelled=lambda: True, progress=silent)
        lease.release()

    def test_a_dead_waiter_does_not_block(self, cpu: LeaseDesk) -> None:
        lease = take(cpu, "x")
        dead = Server(cpu, "a")
        until(lambda: cpu.state().queue)
        dead.kill()
        waiting = asking(cpu, "y")
        lease.release()
        waiting.lease().release()

    def test_a_waiter_that_stands_still_does_not_block_two_slots(self, tmp_path: Path) -> None:
        """It is given a slot like others, but the dealing goes on without it."""
        desk, _ = desk_of(tmp_path, cpu=2)
        first, second = take(desk, "x"), take(desk, "y")
        still = Server(desk, "a")
        until(lambda: desk.state().queue)
        pid = desk.state().queue[0].pid
        os.kill(pid, signal.SIGSTOP)
        try:
            waiting = asking(desk, "b")
            first.release()
            second.release()
            waiting.lease().release()
            assert [held.who for held in desk.state().held] == ["a"]
        finally:
            os.kill(pid, signal.SIGCONT)
        assert still.lease() == ()
        still.release()

    def test_a_queue_whose_files_are_removed_says_so(self, cpu: LeaseDesk, tmp_path: Path) -> None:
        lease = take(cpu, "x")
        waiting = asking(cpu, "y")
        for path in (tmp_path / "leases" / "tickets").iterdir():
            path.unlink()
        assert "were removed" in str(waiting.error())
        lease.release()

    def test_the_state_names_holders_and_queue(self, cpu: LeaseDesk, tmp_path: Path) -> None:
        lease = take(cpu, "x")
        record_dir = tmp_path / "runs" / "1"
        lease.bind(record_dir)
        waiting = asking(cpu, "y")
        state = cpu.state()
        (held,) = state.held
        assert (held.who, held.pid, held.job) == ("x run_1", os.getpid(), str(record_dir))
        assert [(item.who, item.gpus) for item in state.queue] == [("y", 0.0)]
        waiting.cancel()
        lease.release()


class TestDeath:
    def test_a_killed_holder_has_given_back_its_slot(self, cpu: LeaseDesk) -> None:
        server = Server(cpu, "x")
        server.lease()
        waiting = asking(cpu, "y")
        waiting.waits()
        server.kill()
        waiting.lease().release()

    def test_a_lease_outlives_the_server_as_long_as_its_job_lives(
        self, cpu: LeaseDesk, tmp_path: Path
    ) -> None:
        server = Server(cpu, "x")
        server.lease()
        record_dir = tmp_path / "runs" / "7"
        server.bind(record_dir)
        with shim(record_dir):
            server.kill()
            waiting = asking(cpu, "y")
            waiting.waits()
            assert "held by x run_7" in waiting.told[0]
        waiting.lease().release()

    def test_a_bound_lease_whose_job_never_started_ends_with_the_server(
        self, cpu: LeaseDesk, tmp_path: Path
    ) -> None:
        server = Server(cpu, "x")
        server.lease()
        server.bind(tmp_path / "runs" / "7")
        server.kill()
        take(cpu, "y").release()

    def test_releasing_does_not_take_the_slot_from_a_living_job(
        self, cpu: LeaseDesk, tmp_path: Path
    ) -> None:
        lease = take(cpu, "x")
        lease.bind(tmp_path / "runs" / "7")
        with shim(tmp_path / "runs" / "7"):
            lease.release()
            waiting = asking(cpu, "y")
            waiting.waits()
        waiting.lease().release()

    def test_a_forked_child_does_not_keep_what_its_parent_gave_back(
        self, cpu: LeaseDesk, tmp_path: Path
    ) -> None:
        lease = take(cpu, "x")
        lease.bind(tmp_path / "runs" / "7")
        child = FORK.Process(target=signal.pause, daemon=True)
        with shim(tmp_path / "runs" / "7"):
            child.start()
            lease.release()
        take(cpu, "y").release()
        child.kill()
        child.join(PATIENCE_S)

    def test_an_ended_lease_does_not_revive_with_a_second_job_of_its_folder(
        self, tmp_path: Path
    ) -> None:
        desk, _ = desk_of(tmp_path, cpu=2)
        server = Server(desk, "x")
        server.lease()
        record_dir = tmp_path / "runs" / "7"
        server.bind(record_dir)
        with shim(record_dir):
            server.kill()
            again = take(desk, "x")
        again.bind(record_dir)
        with shim(record_dir):
            assert len(desk.state().held) == 1
            take(desk, "y").release()
        again.release()

    def test_a_released_lease_cannot_be_bound(self, cpu: LeaseDesk, tmp_path: Path) -> None:
        lease = take(cpu, "x")
        lease.release()
        with pytest.raises(ValueError, match="released"):
            lease.bind(tmp_path)


class TestRaces:
    def test_sixteen_processes_for_three_slots_some_of_them_killed(self, tmp_path: Path) -> None:
        desk, _ = desk_of(tmp_path, cpu=3)
        inside, most = FORK.Value("i", 0), FORK.Value("i", 0)

        def work(number: int) -> None:
            for turn in range(3):
                lease = desk.acquire(f"idea{number % 5}", 0, cancelled=never, progress=silent)
                with lease, seat(tmp_path / "seats", ["s1", "s2", "s3"]):
                    if turn == 0:  # nobody is killed yet, so this count is right
                        with inside.get_lock():
                            inside.value += 1
                            most.value = max(most.value, inside.value)
                        until(lambda: most.value >= 3)
                        with inside.get_lock():
                            inside.value -= 1
                    if turn == 1 and number % 4 == 3:
                        os.kill(os.getpid(), signal.SIGKILL)

        codes = _run([FORK.Process(target=work, args=(n,)) for n in range(16)])
        assert codes == [-signal.SIGKILL if n % 4 == 3 else 0 for n in range(16)]
        assert most.value == 3
        state = desk.state()
        assert (state.held, state.queue) == ((), ())

    def test_two_gpus_at_once_beside_one_without_deadlock(self, tmp_path: Path) -> None:
        desk, _ = desk_of(tmp_path, gpus=2)

        def work(number: int, gpus: int) -> None:
            for _ in range(3):
                with desk.acquire(f"idea{number}", gpus, cancelled=never, progress=silent) as lease:
                    assert len(lease.gpus) == gpus
                    with contextlib.ExitStack() as seats:
                        for gpu in lease.gpus:
                            seats.enter_context(seat(tmp_path / "seats", [gpu.uuid]))

        wishes = [2, 1, 2, 1, 2, 1]
        codes = _run([FORK.Process(target=work, args=item) for item in enumerate(wishes)])
        assert codes == [0] * 6
        assert desk.state().held == () and desk.quarantined() == ()


def _run(processes: list[BaseProcess]) -> list[int | None]:
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE_S)
    return [process.exitcode for process in processes]


class TestGpus:
    def test_a_lease_shows_the_run_its_gpu_and_no_other(self, tmp_path: Path) -> None:
        desk, _ = desk_of(tmp_path, gpus=2)
        with take(desk, "x", 1) as first, take(desk, "y", 1) as second:
            assert first.environment == {
                "CUDA_VISIBLE_DEVICES": "GPU-0",
                "NVIDIA_VISIBLE_DEVICES": "GPU-0",
            }
            assert first.devices == ("/dev/nvidia0",)
            assert second.environment["CUDA_VISIBLE_DEVICES"] == "GPU-1"
            assert [state.used_bytes for state in first.before] == [GIB]
        assert [state.free for state in first.after] == [True]

    def test_two_at_once_are_waited_for_and_not_overtaken(self, tmp_path: Path) -> None:
        desk, _ = desk_of(tmp_path, gpus=2)
        one = take(desk, "x", 1)
        both = asking(desk, "y", 2)
        behind = asking(desk, "z", 1)
        both.waits()
        assert behind.result is None
        assert both.told == ["waiting for 2 GPUs: you are next; held by x"]
        one.release()
        lease = both.lease()
        assert lease.environment["CUDA_VISIBLE_DEVICES"] == "GPU-0,GPU-1"
        lease.release()
        behind.lease().release()

    def test_halves_of_a_gpu(self, tmp_path: Path) -> None:
        desk, _ = desk_of(tmp_path, gpus=1)
        first, second = take(desk, "x", 0.5), take(desk, "y", 0.5)
        third = asking(desk, "z", 0.5)
        third.waits()
        assert [held.share for held in desk.state().held] == [500, 500]
        first.release()
        lease = third.lease()
        second.release()
        lease.release()

    def test_more_than_there_are_is_refused_at_once(self, tmp_path: Path) -> None:
        desk, _ = desk_of(tmp_path, gpus=2)
        with pytest.raises(ExecutorError, match="asks for 3 GPUs and this machine can lend 2"):
            take(desk, "x", 3)
        with pytest.raises(UsageError, match=r"gpus = 1\.5"):
            take(desk, "x", 1.5)

    def test_parts_of_a_divided_gpu_are_not_lent_together(self, tmp_path: Path) -> None:
        parts = tuple(Gpu(0, f"MIG-{n}", "a part", GIB, (), n, "GPU-0") for n in range(2))
        nvml = FakeNvml(Board("GPU-0", mig=[Board("MIG-0"), Board("MIG-1")]))
        desk = LeaseDesk(tmp_path / "leases", parts, 1, monitor=FakeMonitor(nvml))
        with take(desk, "x", 1), take(desk, "y", 1) as second:
            assert second.environment["CUDA_VISIBLE_DEVICES"] == "MIG-1"
        with pytest.raises(ExecutorError, match="asks for 2 GPUs"):
            take(desk, "x", 2)


def leak(nvml: FakeNvml, index: int) -> None:
    """Leave a process on a GPU."""
    nvml.boards[index].used = [9 * GIB]
    nvml.boards[index].processes = [Process(4711, 8 * GIB, "left_over")]


class TestQuarantine:
    def test_a_gpu_that_does_not_come_back_is_not_lent_again(self, tmp_path: Path) -> None:
        desk, nvml = desk_of(tmp_path, gpus=2)
        lease = take(desk, "x", 1)
        lease.bind(tmp_path / "runs" / "3")
        leak(nvml, 0)
        lease.release()
        assert [state.free for state in lease.after] == [False]
        (item,) = desk.quarantined()
        assert (item.index, item.uuid, item.holder) == ("0", "GPU-0", "x run_3")
        assert "left_over (pid 4711, 8.0 GiB)" in item.reason
        with take(desk, "y", 1) as other:
            assert other.environment["CUDA_VISIBLE_DEVICES"] == "GPU-1"

    def test_memory_that_comes_back_late_is_waited_for(self, tmp_path: Path) -> None:
        desk, nvml = desk_of(tmp_path, gpus=1, patience_s=PATIENCE_S)
        lease = take(desk, "x", 1)
        nvml.boards[0].used = [9 * GIB, 5 * GIB, 2 * GIB, GIB]
        lease.release()
        assert desk.quarantined() == ()

    def test_after_a_killed_server_the_next_one_looks(self, tmp_path: Path) -> None:
        desk, nvml = desk_of(tmp_path, gpus=2)
        server = Server(desk, "x", 1)
        assert server.lease() == ("GPU-0",)
        server.kill()
        leak(nvml, 0)
        with take(desk, "y", 1) as lease:
            assert lease.environment["CUDA_VISIBLE_DEVICES"] == "GPU-1"
        (item,) = desk.quarantined()
        assert (item.uuid, item.holder) == ("GPU-0", "x")

    def test_after_a_killed_server_and_its_job_too(self, tmp_path: Path) -> None:
        desk, nvml = desk_of(tmp_path, gpus=1)
        server = Server(desk, "x", 1)
        server.lease()
        server.bind(tmp_path / "runs" / "3")
        with shim(tmp_path / "runs" / "3"):
            server.kill()
            waiting = asking(desk, "y", 1)
            waiting.waits()
            leak(nvml, 0)
        assert "too few are left" in str(waiting.error())
        assert desk.quarantined()[0].holder == "x run_3"

    def test_all_in_quarantine_is_an_error_that_says_how_to_go_on(self, tmp_path: Path) -> None:
        desk, nvml = desk_of(tmp_path, gpus=1)
        lease = take(desk, "x", 1)
        waiting = asking(desk, "y", 1)
        leak(nvml, 0)
        lease.release()
        with pytest.raises(ExecutorError) as caught:
            take(desk, "z", 1)
        for error in (waiting.error(), caught.value):
            assert isinstance(error, ExecutorError)
            assert "GPU 0 (a GPU) is in quarantine since" in error.message
            assert "left_over (pid 4711" in error.message
            assert "`agent-runner gpu release 0`" in error.remedy
        with take(desk, "z") as on_cpu:
            assert on_cpu.gpus == ()

    def test_lifting_lends_it_again_as_it_is(self, tmp_path: Path) -> None:
        desk, nvml = desk_of(tmp_path, gpus=1)
        lease = take(desk, "x", 1)
        leak(nvml, 0)
        lease.release()
        with pytest.raises(UsageError, match="GPU 7 is not in quarantine") as caught:
            desk.lift(7)
        assert "In quarantine are: 0." in caught.value.remedy
        assert desk.lift(0).uuid == "GPU-0"
        assert desk.quarantined() == ()
        with take(desk, "x", 1) as lease:
            assert [state.used_bytes for state in lease.before] == [9 * GIB]
        assert desk.quarantined() == ()
        with pytest.raises(UsageError):
            desk.lift(0)

    def test_a_gpu_that_is_lost_is_not_lent(self, tmp_path: Path) -> None:
        desk, nvml = desk_of(tmp_path, gpus=2)
        nvml.boards[0].lost = True
        with take(desk, "x", 1) as lease:
            assert lease.environment["CUDA_VISIBLE_DEVICES"] == "GPU-1"
        assert "GPU is lost" in desk.quarantined()[0].reason

    def test_of_two_one_that_is_lost_is_put_away_and_the_turn_is_kept(self, tmp_path: Path) -> None:
        desk, nvml = desk_of(tmp_path, gpus=3)
        nvml.boards[1].lost = True
        with take(desk, "x", 2) as lease:
            assert lease.environment["CUDA_VISIBLE_DEVICES"] == "GPU-0,GPU-2"

    def test_a_request_whose_gpu_is_put_away_keeps_its_turn(self, tmp_path: Path) -> None:
        desk, nvml = desk_of(tmp_path, gpus=2)
        server, other = Server(desk, "a", 1), take(desk, "b", 1)
        spoilt, good = server.lease(), other.gpus[0]
        first, second = asking(desk, "x", 1), asking(desk, "y", 1)
        leak(nvml, int(spoilt[0][-1]))
        server.kill()
        until(desk.quarantined)
        first.waits()
        other.release()
        lease = first.lease()
        assert lease.gpus == (good,) and second.result is None
        lease.release()
        second.lease().release()

    def test_the_least_that_was_seen_on_it_is_what_it_has_to_come_back_to(
        self, tmp_path: Path
    ) -> None:
        desk, nvml = desk_of(tmp_path, gpus=1)
        leak(nvml, 0)  # somebody else's, who leaves while nobody looks
        server = Server(desk, "x", 1)
        server.lease()
        server.kill()
        nvml.boards[0].used, nvml.boards[0].processes = [GIB], []
        lease = take(desk, "y", 1)
        leak(nvml, 0)
        lease.release()
        assert "1.0 GiB were before" in desk.quarantined()[0].reason

    def test_a_neighbour_on_the_same_gpu_is_no_leak(self, tmp_path: Path) -> None:
        desk, nvml = desk_of(tmp_path, gpus=1)
        first, second = take(desk, "x", 0.5), take(desk, "y", 0.5)
        leak(nvml, 0)  # the second's run
        first.release()
        assert first.after == () and desk.quarantined() == ()
        with take(desk, "z", 0.5):
            assert desk.quarantined() == ()
        second.release()
        (item,) = desk.quarantined()
        assert "1.0 GiB were before" in item.reason

    def test_a_foreign_process_that_was_there_before_is_no_leak(self, tmp_path: Path) -> None:
        desk, nvml = desk_of(tmp_path, gpus=1)
        leak(nvml, 0)
        take(desk, "x", 1).release()
        take(desk, "x", 1).release()
        assert desk.quarantined() == ()

    def test_nor_is_one_that_came_between_two_runs(self, tmp_path: Path) -> None:
        desk, nvml = desk_of(tmp_path, gpus=1)
        take(desk, "x", 1).release()
        leak(nvml, 0)
        take(desk, "x", 1).release()
        assert desk.quarantined() == ()

    def test_a_wait_for_memory_can_be_cancelled(self, tmp_path: Path) -> None:
        desk, nvml = desk_of(tmp_path, gpus=1, patience_s=1e6)
        server = Server(desk, "x", 1)
        server.lease()
        server.kill()
        leak(nvml, 0)
        waiting = Asking(desk, "y", 1)
        until(lambda: waiting.polls > 5)
        assert isinstance(waiting.cancel(), Cancelled)
        assert desk.quarantined() == () and desk.state().held == ()

    def test_a_broken_record_of_it_keeps_the_gpu_away(self, tmp_path: Path) -> None:
        desk, _ = desk_of(tmp_path, gpus=1)
        folder = tmp_path / "leases" / "quarantine"
        folder.mkdir(parents=True)
        (folder / "GPU-0.json").write_text("{")
        with pytest.raises(ExecutorError, match="cannot be read"):
            take(desk, "x", 1)
        desk.lift("GPU-0")
        take(desk, "x", 1).release()

    def test_a_broken_memory_of_earlier_turns_stops_nobody(self, tmp_path: Path) -> None:
        desk, _ = desk_of(tmp_path, gpus=1)
        take(desk, "x", 1).release()
        (tmp_path / "leases" / "desk.json").write_text('{"served": [], "uses": 3}')
        take(desk, "x", 1).release()
        assert desk.quarantined() == ()
