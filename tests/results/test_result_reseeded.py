"""The same code with other seeds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runner.records import Finding
from agent_runner.results import check_seed, noise_floor

# Of the template's own baseline under three seeds; the references and the count do not move.
BEFORE = {"sae_test": 0.853, "loss": 11.4131, "llm_test": 0.84707, "dead": 0.0}
NOISE = noise_floor(
    [
        BEFORE | {"sae_test": a, "loss": b}
        for a, b in ((0.853, 11.4131), (0.855, 11.44), (0.85, 11.4))
    ],
    (0, 1, 2),
)


def kinds(findings: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(finding.severity, finding.code) for finding in findings]


def test_measured_numbers_move() -> None:
    (found,) = check_seed(
        BEFORE, BEFORE | {"sae_test": 0.857, "loss": 11.42}, moved_seeds=2, noise=NOISE
    )
    assert (found.severity, found.code) == ("info", "seed-moves")
    assert "2 of 4 metrics" in found.message
    assert "sae_test most: by +1.1 x noise (+0.004)" in found.message


def test_numbers_that_were_written_do_not_move() -> None:
    for noise in (NOISE, None):
        (found,) = check_seed(BEFORE, dict(BEFORE), moved_seeds=2, noise=noise)
        assert (found.severity, found.code) == ("fail", "hard-coded")
        assert "2 seeds moved" in found.message
        assert "sae_test, loss" in found.message and "llm" not in found.message


def test_without_a_seed_nothing_is_proved() -> None:
    assert kinds(check_seed(BEFORE, BEFORE, moved_seeds=0, noise=NOISE)) == [("warn", "no-seeds")]


@pytest.mark.parametrize(
    ("metrics", "noise"),
    [
        ({"solved": 3.0, "accuracy": 1.0}, None),
        ({"llm_test": 0.84707}, NOISE),
        ({"llm_test_accuracy": 0.84707}, None),
        ({"cost": 2.5}, noise_floor([{"cost": 2.5}] * 3, (0, 1, 2))),
    ],
)
def test_what_need_not_move_is_no_proof(metrics: dict[str, float], noise) -> None:
    found = check_seed(metrics, metrics, moved_seeds=1, noise=noise)
    assert kinds(found) == [("warn", "nothing-shown")]


def test_one_number_that_stays_is_named() -> None:
    (found,) = check_seed(BEFORE, BEFORE | {"loss": 11.42}, moved_seeds=1, noise=NOISE)
    assert (found.severity, found.code) == ("warn", "unmoved")
    assert "sae_test" in found.message and "llm_test" not in found.message
    # A metric that only the edited code has is expected to move like any other.
    (found,) = check_seed(
        {"loss": 11.4, "own": 0.5}, {"loss": 11.3, "own": 0.5}, moved_seeds=1, noise=NOISE
    )
    assert found.code == "unmoved" and "own" in found.message


def test_without_a_seed_a_movement_proves_nothing_either() -> None:
    after = BEFORE | {"sae_test": 0.857, "loss": 11.42}
    (found,) = check_seed(BEFORE, after, moved_seeds=0, noise=NOISE)
    assert (found.severity, found.code) == ("warn", "no-seeds")
    assert "sae_test, loss moved" in found.message
    # What stays although everything beside it moves by itself is named all the same.
    first, second = check_seed(BEFORE, BEFORE | {"loss": 11.42}, moved_seeds=0, noise=NOISE)
    assert kinds((first, second)) == [("warn", "no-seeds"), ("warn", "unmoved")]
    assert "sae_test" in second.message and "move with the seeds" not in second.message


def test_far_more_than_noise_is_unstable() -> None:
    (found,) = check_seed(
        BEFORE, BEFORE | {"sae_test": 0.6, "loss": 11.42}, moved_seeds=1, noise=NOISE
    )
    assert (found.severity, found.code) == ("warn", "unstable")
    assert "sae_test by -0.253" in found.message and "loss" not in found.message


def test_missing_metrics_fail() -> None:
    found = check_seed(BEFORE, {"loss": 11.42}, moved_seeds=1, noise=NOISE)
    assert kinds(found) == [("fail", "metrics-missing"), ("info", "seed-moves")]
    assert "sae_test" in found[0].message
    assert kinds(check_seed({}, {"a": 1.5}, moved_seeds=1, noise=None)) == [
        ("fail", "metrics-missing")
    ]


METRICS = st.dictionaries(
    st.text(max_size=3) | st.sampled_from(["a", "llm_b" * 90]),
    st.floats(allow_nan=False, allow_infinity=False),
)


@settings(deadline=None)
@given(METRICS, METRICS, st.integers(0, 3), st.lists(METRICS, max_size=3))
def test_something_is_always_said(
    before: dict[str, float], after: dict[str, float], seeds: int, repeats: list[dict[str, float]]
) -> None:
    noise = noise_floor(repeats, range(len(repeats)))
    for known in (noise, None):
        found = check_seed(before, after, moved_seeds=seeds, noise=known)
        assert found and all(0 < len(finding.message) <= 600 for finding in found)
        assert found == check_seed(before, after, moved_seeds=seeds, noise=known)
        assert seeds or "seed-moves" not in {finding.code for finding in found}
        same = check_seed(before, before, moved_seeds=seeds, noise=known)
        assert not {"seed-moves", "unstable"} & {finding.code for finding in same}
