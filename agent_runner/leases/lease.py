"""What a run was lent: a CPU slot, or GPUs that were looked at before and are looked at again after."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol

from agent_runner.errors import ExecutorError
from agent_runner.leases.board import Board
from agent_runner.leases.gpus import Gpu
from agent_runner.leases.health import GpuState
from agent_runner.leases.remembered import Quarantined
from agent_runner.leases.tickets import Hold


class Monitor(Protocol):
    """How to look at a GPU; `agent_runner.leases.health` is one."""

    def look(self, gpu: Gpu, /) -> GpuState: ...

    def wait_until_free(
        self,
        gpu: Gpu,
        base_bytes: int | None,
        patience_s: float,
        /,
        *,
        known: tuple[int, ...],
        stop: Callable[[], bool],
    ) -> GpuState: ...


class Lease:
    """Slots that are taken until `release`, or until this process dies, and then while its job lives.

    gpus: empty for a CPU slot.
    before, after: how each GPU was found, and, once released, left (of one that others share: nothing).
    """

    def __init__(
        self,
        board: Board,
        hold: Hold,
        gpus: tuple[Gpu, ...],
        before: tuple[GpuState, ...],
        *,
        monitor: Monitor,
        patience_s: float,
    ) -> None:
        self.gpus = gpus
        self.before = before
        self.after: tuple[GpuState, ...] = ()
        self._board = board
        self._hold = hold
        self._monitor = monitor
        self._patience_s = patience_s
        self._released = False

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which CUDA, and NVIDIA's container tools, show the run these GPUs and no other.

        Always set: without them a run on a CPU slot could take a GPU that is lent to another.
        """
        uuids = ",".join(gpu.uuid for gpu in self.gpus)
        return {"CUDA_VISIBLE_DEVICES": uuids, "NVIDIA_VISIBLE_DEVICES": uuids or "void"}

    @property
    def devices(self) -> tuple[str, ...]:
        """The device files to grant."""
        return tuple(dict.fromkeys(path for gpu in self.gpus for path in gpu.devices))

    def bind(self, record_dir: Path) -> None:
        """Let the lease last as long as the job of a record folder, also if this process is killed.

        Call it before the job is started: while this process lives it holds the lease anyway, and from the
        job's start on the lock in the folder does.

        Raises:
            ExecutorError: it could not be noted down; do not start the job.
        """
        if self._released:
            raise ValueError("a lease that was released cannot be bound to a job")
        try:
            self._board.bind(self._hold, record_dir.absolute())
        except OSError as error:
            raise ExecutorError(
                f"the slot of a run could not be tied to its job: {error}",
                "See that the home's `leases` folder can be written to and its disk is not full.",
            ) from error

    def release(self) -> None:
        """Give the slots back. GPUs that are not as they were before, after some patience, are set aside.

        While the job it is bound to lives, this only takes this process's hand off: the lease ends with the
        job. Calling it again does nothing.
        """
        if self._released:
            return
        self._released = True
        if self._hold.look().job_lives():
            self._hold.let_go()
            return
        try:
            # What cannot be noted now (a full disk) is found by the next that is given the GPU: it looks too.
            with contextlib.suppress(OSError):
                self._look_after()
        finally:
            self._board.leave(self._hold)

    def _look_after(self) -> None:
        freed: list[str] = []
        states: list[GpuState] = []
        for gpu in self.gpus:
            use = self._board.use_to_prove(self._hold, gpu.uuid)
            if use is None:
                continue  # others are on it: the last one looks, or the next
            state = self._monitor.wait_until_free(
                gpu, use.base_bytes, self._patience_s, known=use.known, stop=lambda: False
            )
            states.append(state)
            if state.free:
                freed.append(gpu.uuid)
            else:
                item = Quarantined.now(gpu, state.reason, use.holder)
                self._board.put_away(self._hold, item, lost=state.lost)
        self.after = tuple(states)
        if freed:
            self._board.stop_using(self._hold, freed)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
