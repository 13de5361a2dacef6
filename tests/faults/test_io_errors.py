"""EIO and ENOSPC at the writes of one proposal: a clear error, nothing corrupt, and it goes on afterwards."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_homes import (
    Model,
    check_home,
    create,
    end_everything,
    propose,
    quick_check,
    reply,
    write_template,
)
from fault_processes import Server, call, lives, until
from io_rounds import faulty_round
from killing import start_run
from loop_mounts import Disk, disk, need
from points import propose_and_die
from syscall_faults import CALLS, command, failing_git, spread, traced

from agent_runner.records import Observation, Outcome

CASES_PER_CALL = 5
FAULTS = itertools.cycle(("ENOSPC", "EIO"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    need("strace")
    folder = tmp_path_factory.mktemp("errors")
    write_template(folder / "toy")
    yield folder
    end_everything(folder / "home")
    check_home(folder / "home")


@pytest.fixture
def model(folder: Path, request: pytest.FixtureRequest) -> Model:
    home = folder / "home"
    return Model(home, call(create, home, folder / "toy", request.node.name, 60))


@pytest.mark.parametrize("name", CALLS)
def test_a_system_call_of_the_server_fails(name: str, model: Model, folder: Path) -> None:
    count = faulty_round(model, folder).calls()[name]
    assert count, f"a proposal makes no call of {name}: this test has lost its object"
    injected = 0
    for number in spread(count, CASES_PER_CALL):
        # A full disk stays full; a broken block is met once.
        when = f"{number}+" if number % 2 and name != "openat" else f"{number}"
        only_once = faulty_round(model, folder, inject=f"{name}:error={next(FAULTS)}:when={when}")
        injected += bool(only_once.injected)
    assert injected, "none of the faults was ever met"


def test_the_disk_is_full_at_each_call_of_git(model: Model, folder: Path) -> None:
    number = failed = 0
    while True:
        number += 1
        spoken = faulty_round(model, folder, path=failing_git(folder, number, next(FAULTS)))
        failed += spoken.code == 1
        if len((folder / "git-calls").read_text().splitlines()) < number:
            break  # the proposal passed untouched
    assert failed, "no call of git has written anything"


def test_a_result_that_cannot_be_read_at_once_is_not_lost(model: Model, folder: Path) -> None:
    record = model.home / "ideas" / model.idea / "runs" / "1" / "exit.json"
    # The first time, before the start, it is only looked for.
    faulty_round(model, folder, inject="openat:error=EIO:when=2", only=str(record))


def test_what_could_not_be_started_can_be_had_afterwards(model: Model, folder: Path) -> None:
    arguments = ["propose", model.idea, "--reply", str(folder / "reply.md"), "--json"]
    arguments += ["--home", str(model.home), "--idempotency-key", "key"]
    renames = [line for line in faulty_round(model, folder).trace.splitlines() if "rename(" in line]
    (number,) = [n for n, line in enumerate(renames, 1) if "spec.json" in line]
    text = reply(1, 2)
    (folder / "reply.md").write_text(text)
    spoken = command(folder, *arguments, inject=f"rename:error=ENOSPC:when={number}")
    if spoken.code != 3 or "spec.json" not in spoken.injected[0]:
        pytest.fail(f"the fault was not met: {spoken}")
    observation = call(propose, model.home, model.idea, text, "key")
    if observation.run is None or observation.run.outcome is Outcome.NOT_STARTED:
        observation = call(propose, model.home, model.idea, text)
    assert observation.run is not None and observation.run.outcome is Outcome.SUCCEEDED
    assert observation.budget.used == 2


@pytest.mark.parametrize("name", ["write", "fsync", "rename", "openat"])
def test_a_system_call_of_the_shim_fails_at_the_end_of_a_run(
    name: str, model: Model, folder: Path
) -> None:
    """It waits for space, and records the end."""
    run = start_run(model.home, model.idea, 1, mode="wait")
    with traced(run.shim.pid, folder / "trace", f"{name}:error=ENOSPC:when=1"):
        run.let_end()
        observation = run.server.result()
    assert "(INJECTED)" in (folder / "trace").read_text()
    assert observation.run is not None
    assert (observation.run.outcome, observation.budget.used) == (Outcome.SUCCEEDED, 1)


# ---------------------------------------------------------------- a disk that is full


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Disk]:
    write_template(tmp_path / "toy")
    with disk(megabytes=32) as made:
        yield made


def test_a_full_disk_before_and_after_a_run(small: Disk, tmp_path: Path) -> None:
    home = small.home
    idea = call(create, home, tmp_path / "toy", "Full")
    text = reply(0, 1)
    (tmp_path / "reply.md").write_text(text)
    arguments = [
        "propose",
        idea,
        "--reply",
        str(tmp_path / "reply.md"),
        "--json",
        "--home",
        str(home),
    ]
    small.fill()
    spoken = command(tmp_path, *arguments, "--idempotency-key", "first")
    spoken.must_be_clear()
    assert spoken.code == 1, "there was no room for it"
    small.free()
    quick_check(home)

    # When the run has ended, and nobody has read what came of it.
    ended = Server(propose_and_die, home, idea, text, "second", "after the run ended, unread")
    ended.died_of_sigkill("after the run ended, unread")
    small.fill()
    spoken = command(tmp_path, *arguments, "--idempotency-key", "second")
    spoken.must_be_clear()
    assert spoken.code == 1
    small.free()
    observation = call(propose, home, idea, text, "second")
    assert observation.run is not None and observation.run.metrics == {"loss": 1.0}
    assert observation.budget.used == 1
    check_home(home)


def test_a_full_disk_while_the_experiment_runs(small: Disk, tmp_path: Path) -> None:
    """The supervisor waits for room to record the end; nothing is lost, and the idea goes on."""
    idea = call(create, small.home, tmp_path / "toy", "Full meanwhile")
    observation = _run_into_the_full_disk(small, idea)
    assert observation.run is not None and observation.run.outcome is not Outcome.LOST
    following = call(propose, small.home, idea, reply(1, 2, modes=("wait", "plain")))
    assert following.run is not None and following.run.metrics == {"loss": 2.0}
    check_home(small.home)


def test_a_full_disk_is_not_charged_to_the_run_that_met_it(small: Disk, tmp_path: Path) -> None:
    idea = call(create, small.home, tmp_path / "toy", "Full, free of charge")
    observation = _run_into_the_full_disk(small, idea)
    assert not observation.budget.charged, observation.message
    assert observation.run is not None and observation.run.failure is not None
    assert observation.run.failure.kind == "disk_full"


def _run_into_the_full_disk(small: Disk, idea: str) -> Observation:
    run = start_run(small.home, idea, 1, mode="wait")
    small.fill()
    experiment = run.let_end()
    until(lambda: not lives(experiment), "the end of the experiment")
    assert run.server.alive(), "a run's end that could not be recorded is waited for"
    small.free()
    observation = run.server.result()
    assert isinstance(observation, Observation)
    return observation
