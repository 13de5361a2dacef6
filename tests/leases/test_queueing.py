"""The rules of the queue, as a pure function of who waits and what is taken."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from queue_model import Model, arrivals, ask

from agent_runner.errors import UsageError
from agent_runner.leases.queueing import WHOLE, Demand, Slots, deal, in_turn

TWO = ("a", "b")


class TestDemand:
    @pytest.mark.parametrize(
        ("gpus", "demand"),
        [
            (0, Demand(0)),
            (1, Demand(1)),
            (1.0, Demand(1)),
            (2, Demand(2)),
            (0.5, Demand(1, 500)),
            (0.1, Demand(1, 100)),
            (0.0001, Demand(1, 1)),
        ],
    )
    def test_what_a_template_may_ask_for(self, gpus: float, demand: Demand) -> None:
        assert Demand.of(gpus) == demand

    @pytest.mark.parametrize("gpus", [-1, 1.5, float("nan"), float("inf")])
    def test_anything_else_is_misuse(self, gpus: float) -> None:
        with pytest.raises(UsageError, match="cannot have gpus"):
            Demand.of(gpus)

    @given(st.integers(2, WHOLE))
    def test_n_runs_of_one_nth_fit_on_a_gpu(self, n: int) -> None:
        share = Demand.of(1 / n).share
        assert n * share <= WHOLE


class TestTurns:
    def test_the_idea_served_least_recently_goes_first(self) -> None:
        waiting = [ask(1, "x"), ask(2, "y"), ask(3, "z")]
        assert [r.holder for r in in_turn(waiting, {"x": 5, "z": 3})] == ["y", "z", "x"]

    def test_ideas_take_turns_and_each_keeps_its_own_order(self) -> None:
        waiting = [ask(1, "x"), ask(2, "x"), ask(3, "x"), ask(4, "y"), ask(5, "y")]
        assert [r.number for r in in_turn(waiting, {})] == [1, 4, 2, 5, 3]


class TestDeal:
    def test_cpu_slots_are_counted(self) -> None:
        order = [ask(n, "x", cpu=3) for n in range(1, 5)]
        assert list(deal(order, [Slots()])) == [1, 2]

    def test_a_server_that_allows_more_does_not_pass_one_that_allows_less(self) -> None:
        order = [ask(1, "x", cpu=1), ask(2, "y", cpu=3)]
        assert deal(order, [Slots()]) == {}

    def test_two_gpus_come_together_or_not_at_all(self) -> None:
        order = [ask(1, "x", 2, TWO)]
        assert deal(order, [Slots(("a",))]) == {}
        assert deal(order, []) == {1: Slots(TWO)}

    def test_a_large_request_is_not_starved_by_small_ones_behind_it(self) -> None:
        order = [ask(1, "x", 2, TWO), ask(2, "y", 1, TWO), ask(3, "z", 0.5, TWO)]
        assert deal(order, [Slots(("a",))]) == {}

    def test_what_a_large_request_does_not_wait_for_is_lent_on(self) -> None:
        four = ("a", "b", "c", "d")
        order = [ask(1, "x", 2, four), ask(2, "y", 0.5, four)]
        held = [Slots(("a",)), Slots(("b",), 700), Slots(("c",), 500), Slots(("d",), 400)]
        assert deal(order, held) == {}  # c and d are soonest empty, b is too full
        held[1] = Slots(("b",), 500)
        held[2] = Slots(("c",), 400)
        assert deal(order, held) == {2: Slots(("b",), 500)}

    def test_a_request_for_the_cpu_does_not_wait_for_one_for_a_gpu(self) -> None:
        order = [ask(1, "x", 1, ("a",)), ask(2, "y")]
        assert deal(order, [Slots(("a",))]) == {2: Slots()}

    def test_fractions_fill_a_used_gpu_first(self) -> None:
        held = [Slots(("b",), 500)]
        assert deal([ask(1, "x", 0.5, TWO)], held) == {1: Slots(("b",), 500)}
        assert deal([ask(1, "x", 0.6, TWO)], held) == {1: Slots(("a",), 600)}

    def test_an_unusable_gpu_is_left_alone(self) -> None:
        assert deal([ask(1, "x", 1, TWO)], [], frozenset("a")) == {1: Slots(("b",))}


@given(arrivals, st.integers(0, 3), st.integers(1, 3), st.data())
def test_never_too_much_and_everybody_in_the_end(
    wishes: list[tuple[str, float]], gpus: int, cpu: int, data: st.DataObject
) -> None:
    model = Model(gpus, cpu)
    for holder, demand in wishes:
        model.arrive(holder, demand)
        model.deal()
        if model.held and data.draw(st.booleans(), label="a run ends"):
            del model.held[data.draw(st.sampled_from(sorted(model.held)))]
            model.deal()
    while model.held:
        del model.held[data.draw(st.sampled_from(sorted(model.held)))]
        model.deal()
    assert not model.waiting


@given(st.lists(st.sampled_from("xyz"), max_size=10), st.sampled_from([1, 2, 3]))
def test_a_stream_of_small_requests_does_not_starve_a_large_one(
    before: list[str], wanted: int
) -> None:
    """Each run that ends is followed by another request at once; the large one is served all the same."""
    model = Model(3, 1)
    for holder in before:
        model.arrive(holder, 0.5)
    model.deal()
    model.arrive("large", wanted)
    large = model.number
    rounds = 0
    while large not in model.held:
        model.arrive("xyz"[rounds % 3], 0.5)
        model.deal()
        if large not in model.held:
            del model.held[min(model.held)]
        model.deal()
        rounds += 1
        assert rounds <= 2 * len(before) + 12


@given(st.lists(st.sampled_from("wxyz"), min_size=1, max_size=14), st.data())
def test_no_idea_is_passed_twice_by_the_same_other_one(
    wishes: list[str], data: st.DataObject
) -> None:
    """With one slot: while an idea waits, every other idea is served at most once."""
    model = Model(0, 1)
    passed: Counter[tuple[str, str]] = Counter()

    def step() -> None:
        waited = {request.holder for request in model.waiting.values()}
        served = dict(model.served)
        model.deal()
        for winner in (idea for idea, turn in model.served.items() if turn != served.get(idea)):
            for idea in waited - {winner}:
                passed[idea, winner] += 1
                assert passed[idea, winner] <= 1
            for idea in wishes:
                passed[winner, idea] = 0

    for holder in wishes:
        model.arrive(holder, 0)
        step()
        if data.draw(st.booleans(), label="the run ends"):
            model.held.clear()
            step()
    while model.held:
        model.held.clear()
        step()
    assert not model.waiting
