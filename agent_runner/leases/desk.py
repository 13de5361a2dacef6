"""Where runs get a CPU slot or GPUs, one after the other and each in its turn, over all processes of a home."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_runner.errors import ExecutorError
from agent_runner.leases import health
from agent_runner.leases.board import Board
from agent_runner.leases.gpus import Gpu
from agent_runner.leases.health import GpuState
from agent_runner.leases.lease import Lease, Monitor
from agent_runner.leases.queueing import WHOLE, Demand, Request
from agent_runner.leases.remembered import Quarantined, Use
from agent_runner.leases.tickets import Hold, Ticket

Progress = Callable[[str, str], None]

_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.05
_TELL_AGAIN_S = 1.0  # how often the place in the queue is looked up
_NAMED_HOLDERS = 4


class WaitEnded(Exception):
    """A wait for slots ended without them, and nothing is wrong."""


class Cancelled(WaitEnded):
    """Whoever waited does not want the slots any more."""


@dataclass(frozen=True)
class Held:
    """Slots that are taken. share: thousandths of each GPU. since: of the request, seconds since 1970."""

    who: str
    gpus: tuple[str, ...]
    share: int
    pid: int
    since: float
    job: str | None


@dataclass(frozen=True)
class Waiting:
    """A request in the queue, in the order of turns."""

    who: str
    gpus: float
    pid: int
    since: float


@dataclass(frozen=True)
class DeskState:
    """All slots, who has them and who waits."""

    cpu_slots: int
    cpu_taken: int
    gpus: tuple[Gpu, ...]
    held: tuple[Held, ...]
    queue: tuple[Waiting, ...]
    quarantined: tuple[Quarantined, ...]


def default_cpu_slots() -> int:
    """Half of the CPUs this process may use, and at least two: one run that hangs must not hold up all."""
    return max(2, len(os.sched_getaffinity(0)) // 2)


class LeaseDesk:
    """Lends CPU slots and GPUs. All processes with the same folder share one queue; threads may share a desk.

    gpus: those that may be lent (`discover()`). cpu_slots: how many runs may go on without a GPU.
    patience_s: how long a GPU may take to be as it was before a run, until it is put into quarantine.
    """

    def __init__(
        self,
        folder: Path,
        gpus: Sequence[Gpu],
        cpu_slots: int,
        *,
        monitor: Monitor = health,
        patience_s: float = 10.0,
    ) -> None:
        if cpu_slots < 1:
            raise ValueError("there must be at least one CPU slot")
        self._board = Board(folder)
        self._gpus = tuple(gpus)
        self._cpu_slots = cpu_slots
        self._monitor = monitor
        self._patience_s = patience_s

    def acquire(
        self,
        holder: str,
        gpus: float,
        *,
        label: str = "",
        cancelled: Callable[[], bool],
        progress: Progress,
    ) -> Lease:
        """Wait for a turn and take the slots of one run.

        holder: the idea's id: turns are taken by idea. label: what people call the job, `run_3`; they are
            shown both, `x run_3`.
        gpus: 0, a fraction of one, or a number of whole ones, which come all at once.
            On a machine without GPUs it is a CPU slot in any case.
        progress: is told `("queue", text)` when the wait begins and when something changes.

        Raises:
            Cancelled: `cancelled()` was true before the slots were there.
            UsageError: `gpus` is no such number.
            ExecutorError: there are not so many GPUs, or not outside quarantine; the folder cannot be used.
        """
        demand = Demand.of(gpus)
        eligible = self._eligible(demand)
        if cancelled():
            raise Cancelled(f"{f'{holder} {label}'.rstrip()} does not want a slot any more")
        self._require(demand, eligible)
        uuids = tuple(gpu.uuid for gpu in eligible)
        request = Request(0, holder, demand, uuids, self._cpu_slots, label)
        try:
            hold = self._board.enter(request)
            try:
                return self._take(hold, demand, eligible, cancelled, progress)
            except BaseException:
                self._board.leave(hold)
                raise
        except OSError as error:
            raise ExecutorError(
                f"no slot could be taken for a run: {error}",
                "See that the home's `leases` folder can be written to and its disk is not full.",
            ) from error

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """All that may be lent."""
        return self._gpus

    def quarantined(self) -> tuple[Quarantined, ...]:
        """The GPUs that are not lent any more, and why."""
        return self._board.quarantined()

    def lift(self, index: int | str) -> Quarantined:
        """Lend a GPU again, named by its index or UUID. What is on it now counts as not the runs'.

        Raises:
            UsageError: it is not in quarantine.
        """
        return self._board.lift(index)

    def state(self) -> DeskState:
        """All slots, who has them and who waits."""
        taken, waiting = self._board.tickets()
        return DeskState(
            cpu_slots=self._cpu_slots,
            cpu_taken=sum(not ticket.slots.gpus for ticket in taken if ticket.slots),
            gpus=self._gpus,
            held=tuple(_held(ticket) for ticket in taken),
            queue=tuple(_waiting(ticket) for ticket in waiting),
            quarantined=self._board.quarantined(),
        )

    # ------------------------------------------------------------ the wait

    def _eligible(self, demand: Demand) -> tuple[Gpu, ...]:
        if demand.gpus == 0:
            return ()
        if demand.gpus == 1:
            return self._gpus
        # CUDA uses one MIG device at a time.
        return tuple(gpu for gpu in self._gpus if gpu.mig is None)

    def _require(self, demand: Demand, eligible: Sequence[Gpu]) -> None:
        """Raise where no wait can help."""
        if not self._gpus or demand.gpus == 0:
            return
        if len(eligible) < demand.gpus:
            raise ExecutorError(
                f"the run asks for {demand.gpus} GPUs and this machine can lend {len(eligible)} together",
                "Lower `gpus` in the [resources] of template.toml.",
            )
        unusable = self._board.unusable()
        if sum(gpu.uuid not in unusable for gpu in eligible) >= demand.gpus:
            return
        wanted = {gpu.uuid for gpu in eligible}
        items = [item for item in self._board.quarantined() if item.uuid in wanted]
        commands = ", ".join(f"`agent-runner gpu release {item.index}`" for item in items)
        raise ExecutorError(
            f"the run asks for {demand.gpus} of {len(eligible)} GPUs, and too few are left: "
            + "; ".join(map(str, items)),
            f"See to what holds it, then lend it again with {commands}.",
        )

    def _take(
        self,
        hold: Hold,
        demand: Demand,
        eligible: tuple[Gpu, ...],
        cancelled: Callable[[], bool],
        progress: Progress,
    ) -> Lease:
        while True:
            uuids = self._wait(hold, demand, eligible, cancelled, progress)
            gpus = tuple(gpu for gpu in eligible if gpu.uuid in uuids)
            states = self._prove(hold, gpus, cancelled)
            if states is not None:
                return Lease(
                    self._board,
                    hold,
                    gpus,
                    states,
                    monitor=self._monitor,
                    patience_s=self._patience_s,
                )

    def _wait(
        self,
        hold: Hold,
        demand: Demand,
        eligible: tuple[Gpu, ...],
        cancelled: Callable[[], bool],
        progress: Progress,
    ) -> tuple[str, ...]:
        """Wait until the ticket is given slots; returns the UUIDs of its GPUs."""
        pause, said, tell_at = _FIRST_PAUSE_S, "", 0.0
        while True:
            if cancelled():
                raise Cancelled(f"{hold.look().who} does not want a slot any more")
            slots = hold.look().slots
            if slots is not None:
                return slots.gpus
            if hold.is_removed():
                raise ExecutorError(
                    "the files of the queue were removed during the wait for a slot",
                    "Propose again; leave the home's `leases` folder alone while runs wait.",
                )
            self._require(demand, eligible)
            if time.monotonic() >= tell_at:
                text = self._place(hold)
                if text and text != said:
                    progress("queue", text)
                    said = text
                tell_at = time.monotonic() + _TELL_AGAIN_S
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
            self._board.deal_if_due()

    def _place(self, hold: Hold) -> str:
        """Its place among those who wait for the same kind of slot; empty where it does not wait any more."""
        taken, waiting = self._board.tickets()
        on_cpu = hold.look().request.on_cpu
        line = [t.request.number for t in waiting if t.request.on_cpu == on_cpu]
        if hold.number not in line:
            return ""
        before = line.index(hold.number)
        who = [t.who for t in taken if t.request.on_cpu == on_cpu]
        more = f" and {len(who) - _NAMED_HOLDERS} more" if len(who) > _NAMED_HOLDERS else ""
        return "waiting for {}: {}; {}".format(
            "a CPU slot" if on_cpu else _kind(hold.look().request.demand),
            f"{before} before you" if before else "you are next",
            f"held by {', '.join(who[:_NAMED_HOLDERS])}{more}" if who else "just given back",
        )

    # ------------------------------------------------------------ GPUs before a run

    def _prove(
        self, hold: Hold, gpus: tuple[Gpu, ...], cancelled: Callable[[], bool]
    ) -> tuple[GpuState, ...] | None:
        """See that what ran on the GPUs before is gone. None: it is not, and the ticket waits again."""
        if not gpus:
            return ()
        uses: list[tuple[str, Use]] = []
        states: list[GpuState] = []
        who = hold.look().who
        for gpu in gpus:
            earlier = self._board.use_to_prove(hold, gpu.uuid)
            if earlier is None:
                state = self._monitor.look(gpu)
            else:
                state = self._monitor.wait_until_free(
                    gpu, earlier.base_bytes, self._patience_s, known=earlier.known, stop=cancelled
                )
            if cancelled():
                raise Cancelled(f"{who} does not want a slot any more")
            states.append(state)
            known = tuple(holder.pid for holder in state.holders)
            uses.append((gpu.uuid, Use(who, state.used_bytes, known)))
            if not state.free:
                item = Quarantined.now(gpu, state.reason, earlier.holder if earlier else "")
                self._board.put_away(hold, item, lost=state.lost)
        if not all(state.free for state in states):
            self._board.wait_again(hold)
            return None
        self._board.start_using(hold, uses)
        return tuple(states)


def _kind(demand: Demand) -> str:
    if demand.share < WHOLE:
        return "a part of a GPU"
    return "a GPU" if demand.gpus == 1 else f"{demand.gpus} GPUs"


def _held(ticket: Ticket) -> Held:
    slots = ticket.slots
    assert slots is not None  # of the tickets that have some
    return Held(ticket.who, slots.gpus, slots.share, ticket.pid, ticket.since, ticket.job)


def _waiting(ticket: Ticket) -> Waiting:
    demand = ticket.request.demand
    gpus = 0.0 if ticket.request.on_cpu else demand.gpus * demand.share / WHOLE
    return Waiting(ticket.who, gpus, ticket.pid, ticket.since)
