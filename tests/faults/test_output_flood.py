"""500 MB of output: the memory of server and shim stays small, the log is capped, its tail exact."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_homes import check_home, create, end_everything, write_template
from fault_processes import call
from flooding import ALLOWED_GROWTH, check_log, flood, propose_flood, watched_shims

from agent_runner.records import Outcome


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    end_everything(tmp_path)


def test_a_flood_through_the_executor(folder: Path) -> None:
    with watched_shims(folder) as peaks:
        growth = call(flood, folder)
    assert growth + peaks.growth < ALLOWED_GROWTH
    check_log(folder / "record" / "stdout.log")


def test_a_flood_through_a_proposal_costs_little_memory(folder: Path) -> None:
    growth, shims = _proposed_flood(folder)
    assert growth + shims < ALLOWED_GROWTH


def _proposed_flood(folder: Path) -> tuple[int, int]:
    """By how much the server's and the shims' peak memory have grown."""
    write_template(folder / "toy")
    home = folder / "home"
    idea = call(create, home, folder / "toy", "Flood")
    with watched_shims(home) as peaks:
        growth, observation = call(propose_flood, home, idea)
    assert observation.run.outcome is Outcome.SUCCEEDED
    check_log(home / "ideas" / idea / "runs" / "1" / "stdout.log")
    check_home(home)
    return growth, peaks.growth
