"""Who is next, and what they get: the rules of the queue, without files or processes.

Among ideas that wait, the one served least recently goes first; within an idea, the earliest request. So no
idea is passed twice by the same other one. A request that cannot be met yet withholds what it waits for from
those behind it: a stream of small requests never starves a large one.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agent_runner.errors import UsageError

WHOLE = 1000  # shares of a GPU


@dataclass(frozen=True)
class Demand:
    """So many GPUs, and so many thousandths of each; no GPU: a CPU slot."""

    gpus: int
    share: int = WHOLE

    @classmethod
    def of(cls, gpus: float) -> Demand:
        """Read a template's `gpus`: 0, a fraction of one GPU, or a number of whole ones.

        Raises:
            UsageError: it is none of these.
        """
        if not math.isfinite(gpus) or gpus < 0 or (gpus > 1 and gpus != int(gpus)):
            raise UsageError(
                f"a run cannot have gpus = {gpus:g}",
                "Ask for 0, for a fraction of one GPU (0.5), or for whole ones (1, 2, ...).",
            )
        if gpus == 0 or gpus >= 1:
            return cls(int(gpus))
        # Rounded down, so that n runs of 1/n fit; the small addition makes up for binary fractions.
        return cls(1, max(1, int(gpus * WHOLE + 1e-6)))


@dataclass(frozen=True)
class Request:
    """One wait in the queue.

    holder: the idea whose turn it is. label: what people call the job that it is for, `run_3`.
    eligible: UUIDs of the GPUs it can use, in the order of preference. Empty: it waits for a CPU slot.
    cpu_slots: how many CPU slots its server allows in all.
    """

    number: int
    holder: str
    demand: Demand
    eligible: tuple[str, ...] = ()
    cpu_slots: int = 1
    label: str = ""

    @property
    def on_cpu(self) -> bool:
        return not self.eligible


@dataclass(frozen=True)
class Slots:
    """What a request was given: a share of each of some GPUs, or one CPU slot (no GPUs)."""

    gpus: tuple[str, ...] = ()
    share: int = WHOLE


def in_turn(waiting: Iterable[Request], served: Mapping[str, int]) -> list[Request]:
    """Return the requests in the order in which they would be served, one idea after the other.

    served: when each idea was last served, as a growing count; ideas that never were are not in it.
    """
    queues: dict[str, deque[Request]] = defaultdict(deque)
    for request in sorted(waiting, key=lambda request: request.number):
        queues[request.holder].append(request)
    last = {holder: served.get(holder, 0) for holder in queues}
    count = max(last.values(), default=0)
    order: list[Request] = []
    while queues:
        holder = min(queues, key=lambda name: (last[name], queues[name][0].number))
        order.append(queues[holder].popleft())
        count += 1
        last[holder] = count
        if not queues[holder]:
            del queues[holder]
    return order


def deal(
    order: Sequence[Request], held: Iterable[Slots], unusable: frozenset[str] = frozenset()
) -> dict[int, Slots]:
    """Return what requests, first come first served, get of what is free: number -> slots.

    held: all slots that are taken. unusable: UUIDs of GPUs that are not to be used.
    """
    table = _Table(held, unusable)
    given: dict[int, Slots] = {}
    for request in order:
        slots = table.cpu(request) if request.on_cpu else table.gpus(request)
        if slots is not None:
            given[request.number] = slots
    return given


class _Table:
    """What is taken, and what is withheld for a request that has to wait for more."""

    def __init__(self, held: Iterable[Slots], unusable: frozenset[str]) -> None:
        self._used: Counter[str] = Counter()
        self._cpu = 0
        self._withheld = set(unusable)
        self._cpu_withheld = False
        for slots in held:
            self._take(slots)

    def cpu(self, request: Request) -> Slots | None:
        if self._cpu_withheld or self._cpu >= request.cpu_slots:
            self._cpu_withheld = True
            return None
        return self._take(Slots())

    def gpus(self, request: Request) -> Slots | None:
        count, share = request.demand.gpus, request.demand.share
        candidates = [uuid for uuid in request.eligible if uuid not in self._withheld]
        fitting = [uuid for uuid in candidates if self._used[uuid] + share <= WHOLE]
        if len(fitting) < count:
            # Those soonest empty. They only get emptier, so in the end they are the request's.
            soonest = sorted(candidates, key=lambda uuid: self._used[uuid])
            self._withheld.update(soonest[:count])
            return None
        # The fullest that fit, so that whole GPUs stay whole.
        fullest = sorted(fitting, key=lambda uuid: -self._used[uuid])
        return self._take(Slots(tuple(fullest[:count]), share))

    def _take(self, slots: Slots) -> Slots:
        self._used.update(dict.fromkeys(slots.gpus, slots.share))
        self._cpu += not slots.gpus
        return slots
