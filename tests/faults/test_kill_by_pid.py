"""SIGKILL to one process of a run: the whole tree is gone at once, and the verdict says what happened.

The tree holds daemons that forked twice, left the session and ignore SIGTERM.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_homes import check_home, create, end_everything, propose, reply, write_template
from fault_processes import Failed, call
from killing import GONE_WITHIN_S, start_run, victims
from loop_mounts import missing

from agent_runner.execution import supervisor
from agent_runner.records import Outcome

ROUNDS = 3
VERDICTS = {
    "shim": {Outcome.LOST},
    "experiment": {Outcome.KILLED},
    # The sandbox is how the experiment runs: it was killed by something that is not the runner.
    "outer bwrap": {Outcome.KILLED, Outcome.LOST},
    "inner bwrap": {Outcome.KILLED, Outcome.LOST},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("kill")
    write_template(folder / "toy")
    yield folder / "home"
    end_everything(folder / "home")


def _idea(home: Path, level: str, victim: str) -> str:
    try:
        idea: str = call(create, home, home.parent / "toy", f"{victim} {level}", 40, level)
    except Failed as error:
        if "SandboxUnavailable" not in str(error) and "is not available" not in str(error):
            raise
        missing(f"runs at {level}: {str(error).strip().splitlines()[-1]}")
    return idea


CASES = [
    ("shim", "L0"),
    ("experiment", "L0"),
    ("shim", "L2"),
    ("experiment", "L2"),
    ("outer bwrap", "L2"),
    ("inner bwrap", "L2"),
]


@pytest.mark.parametrize(("victim", "level"), CASES)
def test_a_killed_process_takes_the_tree_with_it(victim: str, level: str, home: Path) -> None:
    idea = _idea(home, level, victim)
    # Nothing but patience ends a daemon that ignores SIGTERM, where no namespace dies with its first process.
    patience = supervisor.LEFTOVER_GRACE_S if (victim, level) == ("experiment", "L0") else 0.0
    before = "plain"
    for value in range(1, ROUNDS + 1):
        run = start_run(home, idea, value, before=before)
        before = "tree"
        seconds, observation = run.kill(victims(run)[victim]())
        assert seconds <= GONE_WITHIN_S + patience
        assert observation.run is not None and observation.run.outcome in VERDICTS[victim]
        # At L2 the program alone can send itself a signal, unless it is root or the server's user as here.
        assert observation.budget.charged == ((victim, level) == ("experiment", "L2"))
    check_home(home)


def test_the_server_and_the_shim_die_together(home: Path) -> None:
    """The next server finds what is left of the tree, ends it, and goes on."""
    idea = call(create, home, home.parent / "toy", "both", 40)
    run = start_run(home, idea, 1)
    run.server.kill()
    os.kill(run.shim.pid, signal.SIGKILL)
    observation = call(propose, home, idea, reply(1, 2, modes=("tree", "plain")))
    assert observation.run is not None and observation.run.outcome is Outcome.SUCCEEDED
    assert observation.budget.used == 1
    check_home(home)
