"""Many processes on one home at once: an exact budget, one run per key, a queue per idea."""

from __future__ import annotations

import fcntl
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_homes import (
    Model,
    check_home,
    create,
    end_everything,
    propose,
    reply,
    show,
    switch_on,
    write_template,
)
from fault_processes import Server, call, until, waiting_for
from killing import start_run

from agent_runner.records import Observation, Outcome

AGENTS, RUNS, REPEATS = 64, 10, 8


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    write_template(tmp_path / "toy")
    yield tmp_path / "home"
    end_everything(tmp_path / "home")


def _propose_at_the_gate(
    gate: Path, home: Path, idea: str, text: str, key: str | None
) -> Observation:
    with open(gate) as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        return propose(home, idea, text, key)


def _race(
    gate: Path, home: Path, idea: str, entries: list[tuple[str, str | None]]
) -> list[Observation]:
    """Real processes that all start to propose in the same moment."""
    gate.touch()
    with open(gate) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        servers = [Server(_propose_at_the_gate, gate, home, idea, *entry) for entry in entries]
        until(lambda: waiting_for(gate) == len(servers), "all of them at the gate")
    return [server.result() for server in servers]


def test_sixty_four_agents_race_for_ten_runs(home: Path, tmp_path: Path) -> None:
    idea = call(create, home, tmp_path / "toy", "Race", RUNS)
    entries: list[tuple[str, str | None]] = [(switch_on(number), None) for number in range(AGENTS)]
    observations = _race(tmp_path / "gate", home, idea, entries)
    granted = [o for o in observations if o.run is not None]
    refused = Counter(p.kind for o in observations if o.run is None for p in o.problems)
    assert (len(granted), refused) == (RUNS, {"budget_exhausted": AGENTS - RUNS})
    assert {o.run.outcome for o in granted if o.run} == {Outcome.SUCCEEDED}
    assert sorted(o.attempt for o in observations) == list(range(1, AGENTS + 1))
    view, _ = call(show, home, idea)
    assert (view.budget.used, view.budget.left) == (RUNS, 0)
    assert Model(home, idea).launches() == RUNS
    assert [run.index for run in view.runs] == list(range(RUNS + 1))
    check_home(home)


def test_one_key_from_many_processes_is_one_launch(home: Path, tmp_path: Path) -> None:
    idea = call(create, home, tmp_path / "toy", "Same")
    text = reply(0, 1)
    first, *others = _race(tmp_path / "gate", home, idea, [(text, "the key")] * REPEATS)
    assert all(other == first for other in others)
    model = Model(home, idea, value=1, ran=Counter({1: 1}), replies=[text])
    assert len(model.check().attempts) == 1
    check_home(home)


def test_two_servers_work_and_proposals_of_one_idea_wait(home: Path, tmp_path: Path) -> None:
    one, other = (call(create, home, tmp_path / "toy", title) for title in ("One", "Other"))
    running = start_run(home, one, 1, mode="wait"), start_run(home, other, 1, mode="wait")
    second = Server(propose, home, one, reply(1, 2, modes=("wait", "plain")))
    lock = home / "ideas" / one / "lock"
    until(lambda: waiting_for(lock) == 1, "the second proposal to wait")
    assert all(run.server.alive() for run in running)
    for run in running:
        run.let_end()
    ended = [run.server.result() for run in running]
    after = second.result()
    assert [(o.attempt, o.run.outcome) for o in ended] == [(1, Outcome.SUCCEEDED)] * 2
    assert (after.attempt, after.run.index, after.budget.used) == (2, 2, 2)
    check_home(home)
