"""A server that is killed at any point of the write order leaves nothing lost, doubled, running or locked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_rounds import go_on_after_crash, repeat_after_crash
from fault_homes import Model, check_home, create, write_template
from fault_processes import call
from points import POINTS

REPEATED, GONE_ON = 3, 2  # rounds per point; benchmarks/faults.py does a hundred


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One home for all points, each with an idea of its own; looked over when all have been through."""
    folder = tmp_path_factory.mktemp("crash")
    write_template(folder / "toy")
    yield folder / "home"
    check_home(folder / "home")


@pytest.mark.parametrize("point", POINTS)
def test_the_same_request_is_repeated(point: str, home: Path) -> None:
    model = Model(home, call(create, home, home.parent / "toy", f"repeat {point}"))
    for number in range(REPEATED):
        repeat_after_crash(model, POINTS[point], key=f"round {number}")


@pytest.mark.parametrize("point", POINTS)
def test_another_proposal_follows(point: str, home: Path) -> None:
    model = Model(home, call(create, home, home.parent / "toy", f"go on {point}"))
    for number in range(GONE_ON):
        go_on_after_crash(model, POINTS[point], key=f"round {number}")


def test_there_are_points_enough() -> None:
    assert len(POINTS) >= 18
