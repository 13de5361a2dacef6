from __future__ import annotations

import ast
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runner.records import Finding
from agent_runner.results import check_results, is_degenerate

RECORDED_FINDINGS = [
    ("fail", "no-training"),
    ("fail", "no-loss"),
    ("fail", "exact-chance"),
    ("fail", "no-variance"),
    ("fail", "flat-in-k"),
    ("fail", "mismatch"),
    ("fail", "mismatch"),
    ("warn", "not-overcomplete"),
    ("warn", "placeholder"),
]


def kinds(findings: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(finding.severity, finding.code) for finding in findings]


def test_the_recorded_baseline_is_found_out(untrained: dict[str, Any]) -> None:
    findings = check_results(untrained)
    assert kinds(findings) == RECORDED_FINDINGS
    text = "\n".join(finding.message for finding in findings)
    for fact in ("7 SAE accuracies", "8 datasets", "19 vs 5", "says layer 5", "2304", "-100000"):
        assert fact in text
    assert is_degenerate(findings)


def test_the_recordings_own_baselines_are_found_out(seeds: Path, untrained: dict[str, Any]) -> None:
    logs = sorted(seeds.glob("*.txt"))
    assert len(logs) == 5
    for log in logs:
        lines = log.read_text(encoding="utf-8").split("\n")
        recorded = ast.literal_eval(next(x for x in lines if x.startswith("#### {"))[5:].strip())
        assert kinds(check_results(recorded)) == RECORDED_FINDINGS
        assert recorded["eval_config"] == untrained["eval_config"]


def test_a_healthy_file_has_no_findings(healthy: dict[str, Any]) -> None:
    assert check_results(healthy) == ()
    assert not is_degenerate(())


def _set(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(file: dict[str, Any]) -> None:
        place: Any = file
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return change


SAE_MEANS = ("eval_result_metrics", "sae")


@pytest.mark.parametrize(
    ("change", "severity", "code", "fact"),
    [
        (_set("training_steps", to=0), "fail", "no-training", "0"),
        (_set("final_loss", to="nan"), "fail", "no-loss", "nan"),
        (_set("training", "curves", "loss", to=[9.0, 8.0, 9.5]), "warn", "loss-not-falling", "9.5"),
        (_set("training", "curves", "loss", to=[9.0, None]), "warn", "loss-not-falling", "inf"),
        (_set("l0", to=0), "fail", "all-dead", "L0"),
        (_set("dead_features", to=1.0), "fail", "all-dead", "L0"),
        (_set("dead_features", to=0.75), "warn", "dead-features", "75%"),
        (_set("dead_features", to=6912), "warn", "dead-features", "75%"),
        (_set("explained_variance", to=-0.3), "warn", "no-reconstruction", "-0.3"),
        (_set("eval_result_metrics", "sae", to={}), "fail", "no-accuracies", "sae"),
        (_set(*SAE_MEANS, "sae_top_5_test_accuracy", to=1.5), "fail", "out-of-range", "1.5"),
        (_set(*SAE_MEANS, "sae_top_1_test_accuracy", to=0.99), "warn", "better-than-model", "0.99"),
        (_set(*SAE_MEANS, "sae_top_1_test_accuracy", to=0.61), "fail", "mean-differs", "0.61"),
        (_set(*SAE_MEANS, "sae_top_1_test_accuracy", to=None), "fail", "missing-k", "[1]"),
        (_set("eval_config", "dataset_names", to=["absent"]), "fail", "missing-dataset", "absent"),
        (_set("sae_lens_release_id", to="sae_layer_3"), "fail", "mismatch", "layer 3"),
        (_set("sae_cfg_dict", "hook_name", to="blocks.7.x"), "fail", "mismatch", "7 vs 5"),
        (_set("dict_size", to=512), "fail", "mismatch", "512 vs 9216"),
        (_set("model", "granted", to="embedded"), "fail", "mismatch", "embedded"),
        (_set("sae_cfg_dict", "dtype", to="float32"), "info", "mismatch", "float32"),
        (_set("sae_cfg_dict", "d_in", to=9216), "warn", "not-overcomplete", "9216"),
        (_set("sae_cfg_dict", "training_tokens", to=-1), "warn", "placeholder", "-1"),
    ],
)
def test_each_check_fires_on_its_own_fault(
    healthy: dict[str, Any],
    change: Callable[[dict[str, Any]], None],
    severity: str,
    code: str,
    fact: str,
) -> None:
    change(healthy)
    found = [finding for finding in check_results(healthy) if finding.code == code]
    assert [finding.severity for finding in found] == [severity]
    assert fact in found[0].message


def test_uninformative_but_live_codes_are_no_bug(healthy: dict[str, Any]) -> None:
    """Noise scatters around chance; only exact equality is a sign of constant codes."""
    means = healthy["eval_result_metrics"]["sae"]
    scattered = dict(zip(means, [0.5, 0.47, 0.51, 0.53, 0.5, 0.49, 0.5], strict=False))
    healthy["eval_result_metrics"]["sae"] = scattered
    healthy["eval_result_details"] = []
    assert check_results(healthy) == ()


def test_saturated_accuracies_are_no_bug(healthy: dict[str, Any]) -> None:
    for scores in (healthy["eval_result_metrics"], *healthy["eval_result_details"]):
        perfect = [
            name for name in (scores.get("sae") or scores) if name.startswith(("sae_", "llm_"))
        ]
        for name in perfect:
            (scores.get("sae") or scores)[name] = 1.0
    for name in healthy["eval_result_metrics"]["llm"]:
        healthy["eval_result_metrics"]["llm"][name] = 1.0
    codes = {finding.code for finding in check_results(healthy)}
    assert not codes & {"no-variance", "flat-in-k"}


# ------------------------------------------------------------------ beside the baseline


def test_the_same_file_again_is_stale(healthy: dict[str, Any]) -> None:
    findings = check_results(healthy, copy.deepcopy(healthy))
    assert kinds(findings) == [("fail", "same-eval"), ("warn", "identical")]


def test_an_edit_without_effect_is_told(healthy: dict[str, Any]) -> None:
    again = copy.deepcopy(healthy) | {"eval_id": "another", "datetime_epoch_millis": 2}
    assert kinds(check_results(again, healthy)) == [("warn", "identical")]
    again["final_loss"] = 60.9
    assert check_results(again, healthy) == ()


def test_moved_references_and_settings_forbid_comparison(healthy: dict[str, Any]) -> None:
    other = copy.deepcopy(healthy) | {"eval_id": "another", "final_loss": 60.0}
    other["eval_config"]["random_seed"] = 43
    other["eval_config"]["llm_batch_size"] = 8  # changes no number
    for scores in (other["eval_result_metrics"]["llm"], *other["eval_result_details"]):
        scores["llm_top_1_test_accuracy"] += 0.01
    found = {finding.code: finding for finding in check_results(other, healthy)}
    assert set(found) == {"config-differs", "reference-moved"}
    assert "random_seed 43 (baseline 42)" in found["config-differs"].message
    assert "batch" not in found["config-differs"].message
    assert "llm_top_1_test_accuracy +0.0100" in found["reference-moved"].message


# ------------------------------------------------------------------ other templates

AI_SCIENTIST = {
    "circle": {"means": {"training_time": 41.7, "eval_loss": 0.43}, "stderrs": {"eval_loss": 0.0}},
    "dino": {"means": {"training_time": 40.2, "eval_loss": 0.66}, "stderrs": {"eval_loss": 0.0}},
}


@pytest.mark.parametrize(
    "info",
    [
        AI_SCIENTIST,
        {"metrics": {"accuracy": 0.5, "training_steps": 0}},
        {"accuracy": 0.5, "layer": 3, "final_loss": None, "training_steps": 0},
    ],
)
def test_other_templates_have_no_false_findings(info: dict[str, Any]) -> None:
    assert check_results(info) == ()


def test_another_template_s_changed_numbers_are_no_finding() -> None:
    better = copy.deepcopy(AI_SCIENTIST)
    better["dino"]["means"]["eval_loss"] = 0.61
    assert check_results(better, AI_SCIENTIST) == ()


def test_other_templates_are_told_of_an_edit_without_effect() -> None:
    assert kinds(check_results(AI_SCIENTIST, AI_SCIENTIST)) == [("warn", "identical")]
    assert check_results({"solved": 3.0}, {"solved": 3.0}) == ()  # equal counts prove nothing


def test_a_file_without_numbers_is_told() -> None:
    assert kinds(check_results({"note": "done", "ok": True})) == [("warn", "no-metrics")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=6) | st.sampled_from(["sae", "llm", "loss"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "eval_config",
        "eval_result_metrics",
        "eval_result_details",
        "sae_cfg_dict",
        "sae_lens_release_id",
        "training",
        "training_steps",
        "final_loss",
        "layer",
        "dict_size",
        "dead_features",
        "l0",
        "model",
        "metrics",
        "eval_id",
    ]
)
PARTS = st.sampled_from(
    ["dataset_names", "k_values", "sae", "llm", "hook_layer", "d_sae", "d_in", "curves", "granted"]
)


@settings(deadline=None)
@given(st.dictionaries(FIELDS, JSON | st.dictionaries(PARTS, JSON, max_size=5)), st.booleans())
def test_anything_may_stand_in_a_file(info: dict[str, Any], sae: bool) -> None:
    if sae:
        info["eval_result_metrics"] = {"sae": info.get("metrics"), "llm": info.get("layer")}
        if isinstance(info.get("metrics"), dict):
            info["eval_result_metrics"]["sae"]["sae_top_1_test_accuracy"] = 0.4
    for findings in (check_results(info), check_results(info, info)):
        assert all(finding.code and 0 < len(finding.message) <= 700 for finding in findings)
