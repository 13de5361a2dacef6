"""A run beside the idea's earlier ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runner.records import (
    Comparison,
    Failure,
    Finding,
    Limits,
    Location,
    MetricDifference,
    Outcome,
    ResourceUse,
    RunResult,
)
from agent_runner.results import check_history

SHAPES = Failure(
    kind="shape_mismatch",
    exception_type="RuntimeError",
    message="mat1 and mat2 shapes cannot be multiplied",
    location=Location(file="experiment.py", line=96, code="x @ self.W", function="encode"),
    phase="training",
    charged=True,
)
KILLED = Failure(kind="killed_by_signal", message="ended by SIGKILL", phase="model load")


def run(index: int, tree: str | None = None, **fields: Any) -> RunResult:
    values = {
        "outcome": Outcome.SUCCEEDED,
        "seconds": 60.0,
        "phase": "writing results",
        "metrics": {"loss": 1.0 + index / 7, "acc": 0.5 + index / 70, "llm_acc": 0.84},
    }
    tree = tree if tree is not None else f"tree{index}"
    return RunResult(index=index, commit=f"c{index}", tree=tree, **(values | fields))


def failed(index: int, failure: Failure, tree: str | None = None, **fields: Any) -> RunResult:
    values = {"outcome": Outcome.FAILED, "metrics": {}, "failure": failure, "phase": failure.phase}
    return run(index, tree, **(values | fields))


def kinds(findings: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(finding.severity, finding.code) for finding in findings]


def test_an_ordinary_series_of_runs_has_no_findings() -> None:
    runs = [run(0), run(1), failed(2, SHAPES), run(3), failed(4, KILLED), run(5)]
    for result in runs:
        assert check_history(result, runs, limits=Limits(memory_mb=1024)) == ()


# ------------------------------------------------------------------ failures that repeat


def test_the_same_failure_of_other_code_points_away_from_the_edit() -> None:
    moved = SHAPES.location.model_copy(update={"line": 103}) if SHAPES.location else None
    again = SHAPES.model_copy(update={"location": moved})  # lines were added above it
    (found,) = check_history(failed(2, again), [run(0), failed(1, SHAPES)])
    assert (found.severity, found.code) == ("warn", "same-failure")
    for fact in ("run_1", "shape_mismatch", "did not touch the cause", "experiment.py:103"):
        assert fact in found.message


def test_the_same_failure_of_the_same_code_will_come_again() -> None:
    (found,) = check_history(failed(2, SHAPES, "t"), [run(0), failed(1, SHAPES, "t")])
    assert "with the same code: it will fail so again" in found.message


def test_the_recorded_kills_mean_the_environment() -> None:
    """Three of the recordings: ten times SIGKILL while the model was loaded, and each time more edits."""
    kills = [failed(i, KILLED, outcome=Outcome.KILLED, signal="SIGKILL") for i in (1, 2, 3)]
    (found,) = check_history(kills[2], [run(0), *kills])
    for fact in ("run_1, run_2", "SIGKILL", "'model load'", "most likely this machine"):
        assert fact in found.message


def test_what_the_baseline_fails_of_is_no_edit_s_doing() -> None:
    (found,) = check_history(failed(1, KILLED), [failed(0, KILLED)])
    assert "the baseline (run_0)" in found.message and "not an edit" in found.message


def test_a_charged_failure_without_a_place_is_held_against_code_that_ran() -> None:
    slow = Failure(kind="timeout", message="out of time", phase="training", charged=True)
    runs = [run(0), failed(1, slow), failed(2, slow)]
    (found,) = check_history(runs[2], runs)
    assert "other code runs on this machine" in found.message


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "type_error"},
        {"exception_type": "TypeError"},
        {"phase": "evaluation"},
        {"location": Location(file="experiment.py", line=96, code="y @ self.W", function="encode")},
        {"location": None},
    ],
)
def test_another_failure_is_none_of_it(change: dict[str, Any]) -> None:
    earlier = [run(0), failed(1, SHAPES)]
    assert check_history(failed(2, SHAPES.model_copy(update=change)), earlier) == ()


def test_only_what_came_right_before_counts() -> None:
    runs = [run(0), failed(1, SHAPES), run(2), failed(3, SHAPES)]
    assert check_history(runs[3], runs) == ()
    cancelled = Failure(kind="cancelled", message="cancelled")
    runs = [failed(i, cancelled, outcome=Outcome.CANCELLED) for i in (1, 2)]
    assert check_history(runs[1], runs) == ()


# ------------------------------------------------------------------ numbers that repeat


def test_numbers_of_an_earlier_run_from_other_code_are_told() -> None:
    runs = [run(0), run(1), run(2), run(3, metrics=run(1).metrics)]
    (found,) = check_history(runs[3], runs)
    assert (found.severity, found.code) == ("warn", "same-as-earlier")
    assert "run_1" in found.message and "all 2 metrics" in found.message
    assert check_history(run(3, tree="tree1", metrics=run(1).metrics), runs) == ()


def test_one_equal_accuracy_among_many_metrics_is_chance() -> None:
    ours = {"a": 0.711, "b": 0.722, "c": 0.733, "d": 0.744}
    others = {"a": 0.711, "b": 0.1, "c": 0.2, "d": 0.3}
    baseline = run(0, metrics=dict.fromkeys(ours, 0.55))
    assert check_history(run(2, metrics=ours), [baseline, run(1, metrics=others)]) == ()
    others |= {"b": 0.722, "c": 0.733}
    (found,) = check_history(run(2, metrics=ours), [baseline, run(1, metrics=others)])
    assert found.code == "same-as-earlier" and "3 of 4 metrics (a, b, c)" in found.message


def test_references_counts_and_the_baseline_s_own_values_prove_nothing() -> None:
    baseline = run(0, metrics={"loss": 1.5, "solved": 3.0, "llm_acc": 0.84})
    same = {"loss": 1.5, "solved": 4.0, "llm_acc": 0.85}
    runs = [baseline, run(1, metrics=same), run(2, metrics=same)]
    assert check_history(runs[2], runs) == ()
    # the baseline that counts is the one it was compared with
    pair = MetricDifference(baseline=1.5, value=1.75, difference=0.25)
    compared = Comparison(baseline="baseline f", metrics={"loss": pair})
    other = {"loss": 1.75}
    runs = [run(1, metrics=other), run(2, metrics=other, comparison=compared)]
    assert kinds(check_history(runs[1], runs)) == [("warn", "same-as-earlier")]


# ------------------------------------------------------------------ time, phase, device, memory


def test_a_run_that_ends_early_is_suspicious() -> None:
    (found,) = check_history(run(2, seconds=3.0), [run(0), run(1, seconds=16.0)])
    assert (found.severity, found.code) == ("warn", "ended-early")
    assert "3.0 s" in found.message and "run_1 took 16.0 s" in found.message
    # The first run fills caches: 72 s, and later ones 16 s.
    assert check_history(run(1, seconds=16.0), [run(0, seconds=71.7)]) == ()
    assert check_history(run(1, seconds=0.1), [run(0, seconds=2.0)]) == ()
    assert check_history(run(1, seconds=1.0, fingerprint="a"), [run(0, fingerprint="b")]) == ()


def test_a_far_slower_run_is_noted() -> None:
    found = check_history(run(1, seconds=400.0), [run(0)])
    assert kinds(found) == [("info", "far-slower")]


def test_a_run_without_the_template_s_last_phase_is_told() -> None:
    (found,) = check_history(run(1, phase="training"), [run(0)])
    assert (found.severity, found.code) == ("warn", "phase-missing")
    assert check_history(run(1, phase=None), [run(0, phase=None)]) == ()


def test_another_device_is_told() -> None:
    cpu, gpu = {"device": "cpu"}, {"device": "cuda:0"}
    found = check_history(run(1, environment=cpu), [run(0, environment=gpu)])
    assert kinds(found) == [("warn", "device-differs")]
    again = run(1, environment={"device": "cuda:1"})
    assert check_history(again, [run(0, environment=gpu)]) == ()


def test_memory_and_time_near_the_limit_are_noted() -> None:
    used = ResourceUse(peak_memory_bytes=970 * 2**20)
    limits = Limits(memory_mb=1024, time_s=62.0)
    found = check_history(run(1, resources=used), [], limits=limits)
    assert kinds(found) == [("info", "near-memory-limit"), ("info", "near-time-limit")]
    assert check_history(run(1, resources=used), []) == ()


# ------------------------------------------------------------------ anything

FAILURES = st.none() | st.builds(
    Failure,
    kind=st.sampled_from(["timeout", "x" * 900]),
    message=st.text(max_size=5),
    exception_type=st.none() | st.just("E" * 900),
    location=st.none() | st.builds(Location, file=st.just("f" * 900), line=st.none() | st.just(1)),
    phase=st.none() | st.text(max_size=3),
    charged=st.booleans(),
)
RUNS = st.builds(
    RunResult,
    index=st.integers(0, 4),
    outcome=st.sampled_from(Outcome),
    seconds=st.floats(0, 1e6),
    commit=st.just("c"),
    tree=st.sampled_from(["a", "b"]),
    phase=st.none() | st.sampled_from(["training", "p" * 900]),
    metrics=st.dictionaries(
        st.sampled_from(["a", "b", "m" * 900]), st.sampled_from([0.0, 0.5, 1.5, 1e300])
    ),
    failure=FAILURES,
    environment=st.dictionaries(st.just("device"), st.none() | st.integers() | st.text(max_size=4)),
)


@settings(deadline=None)
@given(RUNS, st.lists(RUNS, max_size=4))
def test_any_history_can_be_checked(result: RunResult, earlier: list[RunResult]) -> None:
    found = check_history(result, earlier, limits=Limits(memory_mb=1))
    assert all(finding.code and 0 < len(finding.message) <= 600 for finding in found)
    assert found == check_history(result, tuple(earlier), limits=Limits(memory_mb=1))
    if len({other.index for other in earlier}) == len(earlier):  # then their order does not matter
        assert found == check_history(result, earlier[::-1], limits=Limits(memory_mb=1))
