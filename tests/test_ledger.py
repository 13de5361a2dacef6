from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_runner.errors import IdempotencyConflict, LedgerError, UnknownIdea
from agent_runner.ledger import UNCHARGED_PER_RUN, Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    ledger.ensure()
    ledger.add_idea("idea", "An idea", max_runs=3)
    return ledger


def reserve(ledger: Ledger, tree: str = "t") -> int | None:
    return ledger.reserve_run("idea", attempt=1, tree=tree, commit="c")


def test_reservations_count_at_once_and_stop_at_the_budget(ledger: Ledger) -> None:
    assert [reserve(ledger) for _ in range(5)] == [1, 2, 3, None, None]
    assert ledger.budget("idea").left == 0


def test_a_refund_gives_the_run_back_and_never_reuses_its_number(ledger: Ledger) -> None:
    assert reserve(ledger) == 1
    ledger.settle_run("idea", 1, charged=False, outcome="lost", reason="the worker was lost")
    assert ledger.budget("idea").used == 0
    assert reserve(ledger) == 2
    assert [(row.number, row.state) for row in ledger.runs("idea")] == [
        (1, "refunded"),
        (2, "reserved"),
    ]


def test_a_settled_run_is_not_settled_again(ledger: Ledger) -> None:
    reserve(ledger)
    ledger.settle_run("idea", 1, charged=True, outcome="succeeded", reason="ran")
    ledger.settle_run("idea", 1, charged=False, outcome="lost", reason="late news")
    assert [(row.state, row.outcome) for row in ledger.runs("idea")] == [("spent", "succeeded")]


def test_the_baseline_is_run_0_and_free_also_without_budget(ledger: Ledger) -> None:
    while reserve(ledger):
        pass
    number = ledger.reserve_run("idea", attempt=None, tree="t", commit="c", baseline=True)
    assert number == 0
    assert ledger.budget("idea").used == 3


def test_uncharged_attempts_are_bounded(ledger: Ledger) -> None:
    for _ in range(2):
        attempt = ledger.begin_attempt("idea", "sha", None)
        ledger.settle_attempt(
            "idea", attempt.number, stage="apply", charged=False, reason="refused", tree=None
        )
    assert ledger.budget("idea").attempts_left == 3 * UNCHARGED_PER_RUN - 2


def test_an_idempotency_key_stands_for_one_reply(ledger: Ledger) -> None:
    first = ledger.begin_attempt("idea", "sha-a", "key")
    assert ledger.begin_attempt("idea", "sha-a", "key") == first
    with pytest.raises(IdempotencyConflict, match="already used"):
        ledger.begin_attempt("idea", "sha-b", "key")
    assert len(ledger.attempts("idea")) == 1


def test_the_same_key_may_serve_another_idea(ledger: Ledger) -> None:
    ledger.add_idea("other", "Another", max_runs=1)
    ledger.begin_attempt("idea", "sha-a", "key")
    assert ledger.begin_attempt("other", "sha-b", "key").number == 1


def test_unknown_ideas_and_broken_files_are_said_plainly(tmp_path: Path, ledger: Ledger) -> None:
    with pytest.raises(UnknownIdea):
        ledger.budget("nobody")
    with pytest.raises(UnknownIdea):
        ledger.begin_attempt("nobody", "sha", None)
    broken = tmp_path / "broken.sqlite3"
    broken.write_bytes(b"this is not a database" * 100)
    with pytest.raises(LedgerError, match=r"broken\.sqlite3"):
        Ledger(broken).ensure()


def _race(path: str, barrier: object, granted: object) -> None:
    ledger = Ledger(Path(path))
    barrier.wait()  # type: ignore[attr-defined]
    number = reserve(ledger)
    granted.put(number)  # type: ignore[attr-defined]


def test_processes_racing_for_the_last_runs_get_exactly_the_budget(
    tmp_path: Path, ledger: Ledger
) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, granted = context.Barrier(8), context.Queue()
    path = str(tmp_path / "ledger.sqlite3")
    racers = [context.Process(target=_race, args=(path, barrier, granted)) for _ in range(8)]
    for racer in racers:
        racer.start()
    numbers = [granted.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join(timeout=60)
    assert sorted(n for n in numbers if n is not None) == [1, 2, 3]


steps = st.lists(st.sampled_from(["reserve", "spend", "refund"]), max_size=30)


@given(steps)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_spent_and_reserved_never_pass_the_budget(
    tmp_path_factory: pytest.TempPathFactory, actions: list[str]
) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("ledger") / "l.sqlite3")
    ledger.ensure()
    ledger.add_idea("idea", "An idea", max_runs=3)
    model: dict[int, str] = {}
    for action in actions:
        pending = [number for number, state in model.items() if state == "reserved"]
        if action == "reserve":
            number = reserve(ledger)
            used = sum(state != "refunded" for state in model.values())
            assert (number is None) == (used >= 3)
            if number is not None:
                assert number not in model
                model[number] = "reserved"
        elif pending:
            charged = action == "spend"
            ledger.settle_run("idea", pending[0], charged=charged, outcome="x", reason="x")
            model[pending[0]] = "spent" if charged else "refunded"
    assert {row.number: row.state for row in ledger.runs("idea")} == model
