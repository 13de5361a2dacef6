"""The baseline: when one on record stands, how equal ideas share it, and what is kept of the ones before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent_runner.execution.job_files import is_locked
from agent_runner.paths import file_lock, try_lock, write_json
from agent_runner.records import Failure, Idea, Outcome, RunResult, Stage
from agent_runner.service import Runner, baselines, shared_baselines
from agent_runner.service.bookkeeping import Books, check
from agent_runner.service.collecting import collect

RATE = "        self.rate = 0.1"
FASTER = "        self.rate = 0.2"
FAILS = 'raise ValueError("the template is broken")\n'

Edit = Callable[[str, str], str]


def fingerprint(runner: Runner, idea: Idea) -> str:
    return baselines.default_fingerprint(runner._workspace, idea)


def faults(home: Path) -> list[str]:
    """What `ledger check` says of the home."""
    return [finding.code for finding in check(Books.of(home)).findings]


# ---------------------------------------------------------------- what stands


CANCELLED = Failure(kind="cancelled", message="it was cancelled", charged=True)
MACHINE = Failure(kind="disk_full", message="the disk is full", charged=False)
NO_TRIAL = [
    (Outcome.CANCELLED, CANCELLED),
    (Outcome.LOST, Failure(kind="worker_lost", message="nobody saw its end", charged=False)),
    (Outcome.NOT_STARTED, None),
    (Outcome.KILLED, Failure(kind="killed_by_signal", message="by somebody", charged=False)),
    (Outcome.FAILED, MACHINE),
]


@pytest.mark.parametrize(("outcome", "failure"), NO_TRIAL)
def test_one_that_says_nothing_of_the_template_is_measured_again(
    outcome: Outcome, failure: Failure | None, runner: Runner, idea: Idea, home: Path, edit: Edit
) -> None:
    result = RunResult(
        index=0, outcome=outcome, failure=failure, commit=idea.base_commit, tree=idea.base_tree
    )
    for records in (
        runner._workspace.paths(idea).run(0),
        runner._workspace.home.baseline(fingerprint(runner, idea)),
    ):
        write_json(records.result, result)
    observation = runner.propose(idea.id, edit(RATE, FASTER))
    assert observation.run is not None and observation.run.comparison is not None
    assert runner.run(idea.id, 0).outcome is Outcome.SUCCEEDED
    assert faults(home) == []


def test_the_templates_own_failure_stands_until_it_is_asked_for_again(
    runner: Runner, template: Path, home: Path, edit: Edit
) -> None:
    script = template / "experiment.py"
    script.write_text(script.read_text().replace("    loss = ", f"    {FAILS}    loss = "))
    idea = runner.create_idea("Broken", template=template)
    first = runner.baseline(idea.id).run
    assert first is not None and first.outcome is Outcome.FAILED
    runner.propose(idea.id, edit(RATE, FASTER))
    shared = runner._workspace.home.baseline(fingerprint(runner, idea)).folder
    assert list(shared.glob("earlier-*")) == [], "the proposal has not measured it again"

    for _ in range(2):
        runner.baseline(idea.id)
    own = runner._workspace.paths(idea)
    for number in (1, 2):
        told = (shared / f"earlier-{number}" / "stderr.log").read_text()
        assert "the template is broken" in told
        assert (own.folder / "baselines-before" / str(number) / "stderr.log").read_text() == told
    assert sorted(path.name for path in shared.glob("earlier-*")) == ["earlier-1", "earlier-2"]
    assert not list(own.run(0).folder.glob("earlier-*")), "each is kept once"
    assert [path.name for path in own.run(0).folder.parent.iterdir()] == ["0", "1"]
    assert faults(home) == []
    before = {path for path in home.rglob("*.log")}
    collect(runner._workspace)
    assert before == {path for path in home.rglob("*.log")}, "logs are evidence"


# ---------------------------------------------------------------- equal ideas, one after the other


class Watcher:
    """Calls back once the baseline is said to be waited for."""

    def __init__(self, then: Callable[[], Any]) -> None:
        self.told: list[str] = []
        self._then = then

    def __call__(self, what: str, detail: str) -> None:
        if what == "baseline":
            self.told.append(detail)
        if "waiting" in detail:
            self._then()


def test_who_waits_for_another_ideas_baseline_is_told_and_gets_it(
    runner: Runner, template: Path, home: Path
) -> None:
    first = runner.create_idea("First", template=template)
    second = runner.create_idea("Second", template=template)
    lock = home / "baselines" / f"{fingerprint(runner, first)}.lock"
    waiting, free = threading.Event(), threading.Event()

    def hold() -> None:
        with file_lock(lock):
            free.set()
            assert waiting.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    assert free.wait(60)
    watcher = Watcher(waiting.set)
    observation = runner.baseline(second.id, progress=watcher)
    holder.join()
    assert observation.run is not None and observation.run.outcome is Outcome.SUCCEEDED
    assert watcher.told[0] == "being measured for another idea; waiting"
    assert sum("waiting" in line for line in watcher.told) == 1


def test_a_baseline_that_waits_can_be_cancelled(runner: Runner, idea: Idea, home: Path) -> None:
    watcher = Watcher(lambda: runner.cancel(idea.id))
    with file_lock(home / "baselines" / f"{fingerprint(runner, idea)}.lock"):
        observation = runner.baseline(idea.id, progress=watcher)
    assert observation.run is not None and observation.run.outcome is Outcome.NOT_STARTED
    assert not runner._workspace.paths(idea).run(0).folder.exists(), "nothing of it is recorded"
    assert runner._workspace.ledger.runs(idea.id) == []
    after = runner.baseline(idea.id)
    assert after.run is not None and after.run.outcome is Outcome.SUCCEEDED


def test_a_proposal_that_waits_can_be_cancelled(
    runner: Runner, idea: Idea, home: Path, edit: Edit
) -> None:
    watcher = Watcher(lambda: runner.cancel(idea.id))
    with file_lock(home / "baselines" / f"{fingerprint(runner, idea)}.lock"):
        observation = runner.propose(idea.id, edit(RATE, FASTER), progress=watcher)
    assert [problem.kind for problem in observation.problems] == ["cancelled"]
    assert (observation.stage, observation.budget.used) == (Stage.VALIDATE, 0)
    assert faults(home) == []


# ---------------------------------------------------------------- orphans


def test_orphans_are_ended_under_their_lock_and_living_ones_left_alone(
    runner: Runner, template: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    idea = runner.create_idea("Orphan", template=template)
    runner.baseline(idea.id)
    lock = home / "baselines" / f"{fingerprint(runner, idea)}.lock"
    seen = []

    def end(workspace: object, shared: object) -> None:
        seen.append(is_locked(str(lock)))

    monkeypatch.setattr(shared_baselines, "end_orphans_of", end)
    with file_lock(lock):
        shared_baselines.end_orphans(runner._workspace)
    assert seen == [], "somebody measures it"
    shared_baselines.end_orphans(runner._workspace)
    assert seen == [True] and not is_locked(str(lock))


def test_a_lock_is_tried_without_waiting(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    with try_lock(path) as first, try_lock(path) as second:
        assert (first, second) == (True, False)
        assert is_locked(str(path))
    with pytest.raises(KeyError), try_lock(path):
        raise KeyError
    assert not is_locked(str(path))


# ---------------------------------------------------------------- killed in between

# Dies by SIGKILL when the named function is entered, or has returned.
KILLED = textwrap.dedent(
    """
    import os, shutil, signal, sys
    import agent_runner.service.baselines as baselines
    import agent_runner.service.runs as runs
    from agent_runner.ledger import Ledger
    from agent_runner.service import Runner
    from agent_runner.worktrees import Repository

    owner, name, when = {
        "while copying": (runs, "sync_tree", "before"),
        "before copying": (baselines, "copy_records", "before"),
        "after copying": (baselines, "copy_records", "after"),
        "after the ref": (Repository, "set_run_ref", "after"),
        "before it is settled": (Ledger, "settle_run", "before"),
    }[sys.argv[3]]
    original = getattr(owner, name)

    def wrapped(*args, **kwargs):
        if when == "after":
            original(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, wrapped)
    Runner(sys.argv[1]).baseline(sys.argv[2])
    """
)


@pytest.mark.parametrize(
    "point",
    ["while copying", "before copying", "after copying", "after the ref", "before it is settled"],
)
def test_the_next_call_completes_what_a_killed_server_has_begun(
    point: str, runner: Runner, idea: Idea, home: Path, edit: Edit
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(home), idea.id, point],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ},
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert faults(home) == ["unfinished"], "the next call takes it up"
    # and this one measures nothing again
    observation = runner.propose(idea.id, edit(RATE, FASTER))
    assert observation.run is not None and observation.run.comparison is not None
    shared = runner._workspace.home.baseline(fingerprint(runner, idea)).folder
    assert not list(shared.glob("earlier-*"))
    (row, _) = runner._workspace.ledger.runs(idea.id)
    assert (row.number, row.state, row.outcome) == (0, "refunded", "succeeded")
    assert (home / "worktrees" / idea.id / "run_0" / "final_info.json").exists()
    assert not (runner._workspace.paths(idea).folder / "baselines-before" / "copying").exists()
    assert faults(home) == []
