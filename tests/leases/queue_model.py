"""A desk in memory, to compare the real one with."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st

from agent_runner.leases.queueing import WHOLE, Demand, Request, Slots, deal, in_turn

demands = st.sampled_from([0, 0.25, 0.5, 0.6, 1, 1, 2, 3])
arrivals = st.lists(st.tuples(st.sampled_from("vwxyz"), demands), min_size=1, max_size=14)


def ask(
    number: int, holder: str, gpus: float = 0, eligible: tuple[str, ...] = (), cpu: int = 1
) -> Request:
    return Request(number, holder, Demand.of(gpus), eligible, cpu)


class Model:
    """A desk in memory: requests arrive, runs end, the rules are applied."""

    def __init__(self, gpus: int, cpu: int) -> None:
        self.gpus = tuple(f"gpu{n}" for n in range(gpus))
        self.cpu = cpu
        self.waiting: dict[int, Request] = {}
        self.held: dict[int, Slots] = {}
        self.served: dict[str, int] = {}
        self.number = 0

    def arrive(self, holder: str, gpus: float) -> None:
        self.number += 1
        eligible = self.gpus if 0 < gpus <= len(self.gpus) else ()
        self.waiting[self.number] = ask(
            self.number, holder, gpus if eligible else 0, eligible, self.cpu
        )

    def deal(self) -> None:
        order = in_turn(self.waiting.values(), self.served)
        given = deal(order, self.held.values())
        for request in order:
            if request.number not in given:
                continue
            self.held[request.number] = given[request.number]
            self.served[request.holder] = max(self.served.values(), default=0) + 1
            del self.waiting[request.number]
        self.check()

    def check(self) -> None:
        used: Counter[str] = Counter()
        for slots in self.held.values():
            assert len(set(slots.gpus)) == len(slots.gpus)
            used.update(dict.fromkeys(slots.gpus, slots.share))
        assert all(share <= WHOLE for share in used.values())
        assert sum(not slots.gpus for slots in self.held.values()) <= self.cpu
        free_cpu = self.cpu - sum(not slots.gpus for slots in self.held.values())
        assert not free_cpu or not any(r.on_cpu for r in self.waiting.values())
        if not self.held:
            assert not self.waiting  # nobody waits for a machine that does nothing
