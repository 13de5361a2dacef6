"""Each hostile or faulty program at each level that has to contain it."""

from __future__ import annotations

import os

import pytest

from .battery import CASES, LEVELS, Case, played
from .conftest import Player
from .ground import HERE

# What a result or an output is taken for does not depend on the level: L0 and L2 tell, unless all is asked for.
THOROUGH = "HOSTILE_THOROUGH" in os.environ
ALIKE = ("results", "floods")


def is_played(case: Case, level: str) -> bool:
    """Whether a case is played at a level."""
    told = case.kind_of_attack in ALIKE and level in ("L1", "L3")
    return level in case.contained and (THOROUGH or not told)


CONTAINED = [(name, level) for level in LEVELS for name in CASES if is_played(CASES[name], level)]
CONTROL = [name for name, case in CASES.items() if "L0" not in case.contained and case.l0 == "run"]
ESCAPES_WITHOUT_SANDBOX = 20


def test_each_program_is_in_the_manifest_and_behaves_as_its_baseline() -> None:
    assert {path.name for path in (HERE / "programs").iterdir()} == set(CASES)
    for name in CASES:
        lines = (HERE / "programs" / name / "experiment.py").read_text().splitlines()
        assert lines.count("VARIANT = 0") == 1, name


@pytest.mark.parametrize(
    ("case", "level"), CONTAINED, ids=[f"{level}-{name}" for name, level in CONTAINED]
)
def test_hostile(player: Player, working_level: str, case: str, level: str) -> None:
    trial = player.trial((case, level))
    if trial.skipped:
        pytest.skip(trial.skipped)
    assert not played(trial), "\n".join(played(trial))


def test_the_programs_do_attack(player: Player) -> None:
    """Without a sandbox many get through: else the battery proves nothing."""
    trials = player.trials([(name, "L0") for name in CONTROL])
    through = [trial.case.name for trial in trials if trial.escapes]
    print(f"{len(through)} of {len(CONTROL)} get through at L0: {' '.join(through)}")
    assert len(through) >= ESCAPES_WITHOUT_SANDBOX, through
