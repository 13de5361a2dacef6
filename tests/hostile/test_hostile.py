"""Each hostile or faulty program at each level that has to contain it."""

from __future__ import annotations

import os

import pytest

from .battery import CASES, LEVELS, Case, played
from .conftest import Player
from .ground import HERE

# All cases are played at L2. At other levels, unless all is asked for, those in which a level has walls of its
# own: L1's are Landlock's, L3 adds the kernel's limits to L2, and L0 has none beside what L2 shows of it.
THOROUGH = "HOSTILE_THOROUGH" in os.environ
OWN_WALLS = {
    "L0": (),
    "L1": ("secrets", "writing", "forged records", "network"),
    "L3": ("processes", "resources", "hangs"),
}


def is_played(case: Case, level: str) -> bool:
    """Whether a case is played at a level."""
    if level not in case.contained:
        return False
    return THOROUGH or level == "L2" or case.kind_of_attack in OWN_WALLS[level]


CONTAINED = [(name, level) for level in LEVELS for name in CASES if is_played(CASES[name], level)]
ESCAPING = [name for name, case in CASES.items() if "L0" not in case.contained and case.l0 == "run"]
CONTROL = ESCAPING if THOROUGH else ESCAPING[::2]
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
