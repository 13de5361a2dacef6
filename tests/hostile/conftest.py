"""Which levels work here, and the grounds on which cases are played."""

from __future__ import annotations

import json
import os
import queue
import secrets
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from .battery import CASES, LEVELS, Trial, play
from .ground import Ground
from .network import Listeners

# Three on two processors: a fifth of the cases does nothing but wait for a limit.
WORKERS = 1 if "PYTEST_XDIST_WORKER" in os.environ else 3
Job = tuple[str, str]  # case, level


class Player:
    """Plays cases, a few at a time: all selected ones of a level as soon as the first is asked for."""

    def __init__(self, base: Path, selected: list[Job]) -> None:
        self.base, self.selected = base, selected
        self.listeners = Listeners(base, f"hostile-{secrets.token_hex(6)}")
        self._idle: queue.SimpleQueue[Ground] = queue.SimpleQueue()
        self._made: list[Ground] = []
        self._pool = ThreadPoolExecutor(WORKERS)
        self._trials: dict[Job, Future[Trial]] = {}
        self._levels: dict[str, str | None] = {}

    def trial(self, job: Job) -> Trial:
        """What came of a case at a level."""
        together = [job] if WORKERS == 1 else [each for each in self.selected if each[1] == job[1]]
        self._start([job, *together])
        return self._trials[job].result()

    def trials(self, jobs: list[Job]) -> list[Trial]:
        """What came of several."""
        self._start(jobs)
        return [self._trials[job].result() for job in jobs]

    def _start(self, jobs: list[Job]) -> None:
        for job in jobs:
            if job not in self._trials:
                self._trials[job] = self._pool.submit(self._play, job)

    def _play(self, job: Job) -> Trial:
        case, level = CASES[job[0]], job[1]
        if case.own_home and level == "L0":  # where it does get through, and spoils the home
            ground = self._ground()
            try:
                return play(ground, case, level)
            finally:
                ground.close()
        try:
            ground = self._idle.get_nowait()
        except queue.Empty:
            ground = self._ground()
        try:
            return play(ground, case, level)
        finally:
            self._idle.put(ground)

    def _ground(self) -> Ground:
        ground = Ground(self.base / f"w{secrets.token_hex(3)}", self.listeners)
        self._made.append(ground)
        return ground

    def why_not(self, level: str) -> str | None:
        """Why a level does not work here; None if it does."""
        if level not in self._levels:
            self._levels[level] = self._ask(level)
        return self._levels[level]

    def _ask(self, level: str) -> str | None:
        """What `doctor` says of a level; where it says nothing, whether an idea can be started at it."""
        try:
            ground = self._idle.get_nowait()
        except queue.Empty:
            ground = self._ground()
        try:
            said = levels_of(json.loads(ground.run("doctor", "--json").stdout))
            if level in said:
                return said[level] or None
            title = f"probe-{level}".lower()
            template = str(ground.base / "victim")
            words = ["--title", title, "--template", template, "--sandbox", level, "--json"]
            probe = ground.run("idea", "new", *words)
            return (
                None if probe.code == 0 else (probe.stderr.strip() or probe.stdout.strip())[-500:]
            )
        finally:
            self._idle.put(ground)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        for ground in self._made:
            ground.close()
        self.listeners.close()


def levels_of(doctor: dict[str, Any]) -> dict[str, str]:
    """What `doctor --json` says of each level: "" if it works, else why not. Empty if it says nothing."""
    entries = doctor.get("sandbox") or []
    return {entry["level"]: "" if entry["works"] else entry["reason"] or "?" for entry in entries}


@pytest.fixture(scope="session")
def player(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Player]:
    selected = []
    for item in request.session.items:
        params = getattr(getattr(item, "callspec", None), "params", {})
        if {"case", "level"} <= params.keys():
            selected.append((params["case"], params["level"]))
    player = Player(tmp_path_factory.mktemp("hostile"), selected)
    yield player
    player.close()


@pytest.fixture
def working_level(player: Player, level: str) -> str:
    """The level, or a skip (for root under CI: a failure) where it does not work."""
    assert level in LEVELS
    reason = player.why_not(level)
    if reason is not None:
        if os.environ.get("CI") and os.getuid() == 0:
            pytest.fail(f"{level} has to work where CI runs as root: {reason}")
        pytest.skip(f"{level} does not work on this machine: {reason}")
    return level
