"""Files of other templates: each check finds its fault, and an honest file none."""

from __future__ import annotations

from typing import Any

import pytest

from agent_runner.results import check_results

AI_SCIENTIST = {
    "circle": {"means": {"training_time": 41.7, "eval_loss": 0.43}, "stderrs": {"eval_loss": 0.0}},
    "dino": {"means": {"training_time": 40.2, "eval_loss": 0.66}, "stderrs": {"eval_loss": 0.0}},
}
ENWIK8 = {
    name: {
        "means": {"best_val_loss_mean": loss, "total_train_time_mean": 30.5 + loss},
        "stderrs": {"best_val_loss_stderr": 0.001, "total_train_time_stderr": 0.2},
        "final_info_dict": {"best_val_loss": [loss, loss + 1e-3, loss - 2e-3], "steps": [5.0] * 3},
    }
    for name, loss in (("shakespeare_char", 1.47), ("enwik8", 1.003), ("text8", 0.979))
}


def kinds(info: dict[str, Any], baseline: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    return [(finding.severity, finding.code) for finding in check_results(info, baseline)]


@pytest.mark.parametrize(
    "info",
    [
        AI_SCIENTIST,
        ENWIK8,
        {"metrics": {"accuracy": 0.5, "training_steps": 0}},
        {"accuracy": 0.5, "layer": 3, "final_loss": None, "training_steps": 0},
        {"accuracy": 1.0, "errors": 0},
        {"loss": 0.25, "clip": "inf", "note": "no nan was seen", "names": ["nan"], "best": None},
        {
            "a": {"means": {"accuracy": 0.8}},
            "b": {"means": {"accuracy": 45.2}},
        },  # 0.8 % of many classes
        {"a": {"accuracy": 0.3, "auc": 0.7}, "b": {"accuracy": 0.9, "loss": 62.0}},
        {"a": {"means": {"n": 3}}, "b": {"means": {"n": 3}}, "c": {"means": {"n": 3}}},
    ],
)
def test_honest_files_of_other_templates_have_no_findings(info: dict[str, Any]) -> None:
    assert kinds(info) == []


@pytest.mark.parametrize(
    ("info", "severity", "code", "fact"),
    [
        ({}, "fail", "no-metrics", "nothing was measured"),
        ({"note": "done", "ok": True}, "fail", "no-metrics", "nothing was measured"),
        ({"a": 0, "b": 0.0, "c": {"d": 0}}, "warn", "all-zero", "all 3"),
        ({"a": 1, "b": 1.0, "c": {"d": 1}}, "warn", "all-one", "all 3"),
        ({"loss": "NaN", "steps": 2}, "warn", "not-a-number", "loss is 'NaN'"),
        ({"metrics": {"a": 1.5, "b": "tensor(nan)"}}, "warn", "not-a-number", "b is 'tensor(nan)'"),
        ({"metrics": {"a": 1.5, "b": "-Infinity"}}, "warn", "not-a-number", "b is '-Infinity'"),
        ({"s": {"means": {"a": 1.5, "b": "nan"}}}, "warn", "not-a-number", "s.b is 'nan'"),
        ({"metrics": {"a": 1.5, "b": None}}, "info", "no-value", "b"),
        (
            {name: {"means": {"loss": 0.731, "time": at}} for at, name in enumerate("abc")},
            "warn",
            "no-variance",
            "loss",
        ),
        (
            {"a": {"means": {"x": 2.5}, "final_info_dict": {"x": [2.5, 2.5, 2.5]}}},
            "warn",
            "constant-over-seeds",
            "a/x",
        ),
        (
            {"a": {"means": {"test_acc": 0.91}}, "b": {"means": {"test_acc": 93.5}}},
            "warn",
            "mixed-units",
            "test_acc",
        ),
    ],
)
def test_each_fault_is_told(info: dict[str, Any], severity: str, code: str, fact: str) -> None:
    found = [finding for finding in check_results(info) if finding.code == code]
    assert [finding.severity for finding in found] == [severity]
    assert fact in found[0].message


# ------------------------------------------------------------------ beside a baseline


def test_changed_numbers_are_no_finding() -> None:
    better = AI_SCIENTIST | {"dino": {"means": {"training_time": 39.0, "eval_loss": 0.61}}}
    assert kinds(better, AI_SCIENTIST) == []
    assert kinds({"accuracy": 0.012}, {"accuracy": 0.97}) == []
    assert kinds({"accuracy": 97.0}, {"accuracy": 45.0}) == []
    assert kinds({"accuracy": 0.0}, {"accuracy": 0.97}) == []


def test_an_edit_without_effect_is_told() -> None:
    assert kinds(AI_SCIENTIST, AI_SCIENTIST) == [("warn", "identical")]
    assert kinds({"solved": 3.0}, {"solved": 3.0}) == []  # equal counts prove nothing


def test_a_percentage_beside_a_fraction_is_told() -> None:
    for info, baseline in (
        ({"accuracy": 91.3}, {"accuracy": 0.905}),
        ({"accuracy": 0.913}, {"accuracy": 90.5}),
    ):
        (found,) = check_results(info, baseline)
        assert (found.severity, found.code) == ("warn", "mixed-units")


def test_metrics_that_are_gone_are_named() -> None:
    (found,) = check_results({"loss": 1.5}, {"loss": 2.5, "accuracy": 0.75})
    assert (found.severity, found.code) == ("warn", "metrics-missing")
    assert "accuracy" in found.message


def test_nothing_can_be_compared_with_a_degenerate_baseline() -> None:
    found = check_results({"loss": 1.5}, {"note": "done"})
    assert [(f.severity, f.code) for f in found] == [("fail", "degenerate-baseline")]
    assert "no-metrics" in found[0].message
