"""The power fails at a random moment: what was acknowledged is there, and the next server goes on by itself.

Simulated at the file system: ext4 on a loop device is shut down without a flush of its journal, and mounted
again. It drops what only the page cache held; it does not reorder a disk's own cache.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest
from fault_homes import create, propose, reply, write_template
from fault_processes import call
from loop_mounts import Disk, disk
from power import Acknowledged, charged_for_nothing, cut_at, cut_while_working, go_on, losses

ROUNDS = 20


@pytest.fixture(scope="module")
def one_machine() -> Iterator[Disk]:
    """Its power fails again and again, under one idea after the other."""
    with disk(megabytes=96) as made:
        write_template(made.root.parent / "toy")
        yield made


@pytest.fixture
def machine() -> Iterator[Disk]:
    with disk(megabytes=96) as made:
        write_template(made.root.parent / "toy")
        yield made


def test_what_was_acknowledged_survives_a_power_cut(machine: Disk) -> None:
    moments = random.Random(5)
    lost: list[str] = []
    told = Acknowledged(call(create, machine.home, machine.root.parent / "toy", "Power", 1000))
    os.sync()  # the baseline has a test of its own
    for number in range(ROUNDS):
        cut_while_working(machine, told, seconds=moments.uniform(0.0, 0.4))
        lost += [f"round {number}: {text}" for text in losses(machine, told)]
        go_on(machine, told)
    assert not lost, "\n".join(lost)


# What is in the making when the power goes; benchmarks/faults.py takes every point.
CUT_AT = [
    "after the attempt's row",
    "after half the edit",
    "before the branch moves",
    "after the commit",
    "after the reservation",
    "before the supervisor",
    "after started.json was seen",
    "after the run ended, unread",
    "after result.json",
    "after the run is settled",
    "after history.json",
    "after observation.json",
]


@pytest.mark.parametrize("point", CUT_AT)
def test_a_power_cut_at(point: str, one_machine: Disk) -> None:
    told = _one_run_acknowledged(one_machine, point)
    cut_at(one_machine, told, point)
    lost = losses(one_machine, told)
    go_on(one_machine, told)
    assert not lost, "\n".join(lost)


def test_no_run_pays_for_results_that_a_power_cut_has_taken(one_machine: Disk) -> None:
    told = _one_run_acknowledged(one_machine, "no charge")
    cut_at(one_machine, told, "after the run ended, unread")
    go_on(one_machine, told)
    assert not charged_for_nothing(one_machine, told)


def test_the_baseline_survives_a_power_cut(machine: Disk) -> None:
    told = Acknowledged(call(create, machine.home, machine.root.parent / "toy", "Baseline"))
    machine.cut_power()
    machine.restart()
    go_on(machine, told)


def _one_run_acknowledged(machine: Disk, title: str) -> Acknowledged:
    told = Acknowledged(call(create, machine.home, machine.root.parent / "toy", title))
    os.sync()
    told.take(call(propose, machine.home, told.idea, reply(0, 1)))
    return told
