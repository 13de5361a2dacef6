from __future__ import annotations

import ast
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runner.records import Finding, Noise
from agent_runner.results import check_results, is_degenerate, noise_floor

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


def test_honest_files_have_no_findings(healthy: dict[str, Any], embedded: dict[str, Any]) -> None:
    assert check_results(healthy) == ()
    assert check_results(embedded) == ()
    assert not is_degenerate(())


def _set(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(file: dict[str, Any]) -> None:
        place: Any = file
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to

    return change


SAE_MEANS = ("eval_result_metrics", "sae")
LLM_MEANS = ("eval_result_metrics", "llm")


@pytest.mark.parametrize(
    ("change", "severity", "code", "fact"),
    [
        (_set("training_steps", to=0), "fail", "no-training", "0"),
        (_set("final_loss", to="nan"), "fail", "no-loss", "nan"),
        (_set("training", "curves", "loss", to=[9.0, 8.0, 9.5]), "warn", "loss-not-falling", "9.5"),
        (_set("training", "curves", "loss", to=[9.0, None]), "warn", "loss-not-falling", "inf"),
        (_set("training_steps", to=-3), "fail", "out-of-range", "-3"),
        (_set("final_loss", to=3.5), "warn", "mismatch", "3.5 vs 61.2"),
        (_set("integrity", "non_finite", to=7), "fail", "non-finite-parameters", "7 of 42"),
        (_set("integrity", "changed", to=0), "fail", "unchanged-parameters", "initial"),
        (_set("integrity", "changed", to=0.75), "info", "frozen-parameters", "25%"),
        (_set("integrity", "relative_change", to=2e-6), "warn", "hardly-changed", "2e-06"),
        (_set("integrity", "parameters", to=0), "warn", "no-parameters", "no trainable"),
        (_set("l0", to=0), "fail", "all-dead", "L0"),
        (_set("l0", to=5000), "warn", "dense-codes", "5000 of 9216"),
        (_set("l0", to=9217), "fail", "out-of-range", "9217"),
        (_set("l0", to=None), "warn", "unreported", "l0"),
        (_set("explained_variance", to=1.2), "fail", "out-of-range", "1.2"),
        (_set("dead_features", to=1.5), "fail", "out-of-range", "1.5"),
        (_set("dead_features", to=1.0), "fail", "all-dead", "L0"),
        (_set("dead_features", to=0.75), "warn", "dead-features", "75%"),
        (_set("dead_features", to=6912), "warn", "dead-features", "75%"),
        (_set("explained_variance", to=-0.3), "warn", "no-reconstruction", "-0.3"),
        (_set("eval_result_metrics", "sae", to={}), "fail", "no-accuracies", "sae"),
        (_set(*SAE_MEANS, "sae_top_5_test_accuracy", to=1.5), "fail", "out-of-range", "1.5"),
        (_set(*SAE_MEANS, "sae_top_1_test_accuracy", to=0.99), "warn", "better-than-model", "0.99"),
        (_set(*SAE_MEANS, "sae_top_1_test_accuracy", to=0.2), "warn", "below-chance", "0.2"),
        (_set(*LLM_MEANS, "llm_test_accuracy", to=0.51), "warn", "reference-at-chance", "0.51"),
        (
            _set("untrained", "sae_test_accuracy", to=0.99),
            "info",
            "no-better-than-untrained",
            "-0.",
        ),
        (_set(*SAE_MEANS, "sae_top_1_test_accuracy", to=0.61), "fail", "mean-differs", "0.61"),
        (_set(*SAE_MEANS, "sae_top_1_test_accuracy", to=None), "fail", "missing-k", "[1]"),
        (_set("eval_config", "dataset_names", to=["absent"]), "fail", "missing-dataset", "absent"),
        (_set("eval_result_details", to=[]), "fail", "missing-dataset", "bias_in_bios_class_set1"),
        (_set("eval_result_details", 0, "sae_test_accuracy", to=None), "fail", "missing-k", "set1"),
        (
            _set("metrics", "sae_test_accuracy", to=0.99),
            "fail",
            "metrics-differ",
            "0.99 in metrics",
        ),
        (
            _set("metrics", "sae_test_accuracy", to="nan"),
            "warn",
            "not-a-number",
            "sae_test_accuracy",
        ),
        (_set("smoke", to=True), "warn", "smoke-settings", "smoke"),
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
    for name in ("eval_result_details", "metrics", "untrained"):
        del healthy[name]
    assert check_results(healthy) == ()


def test_constant_codes_on_one_data_set_are_told(healthy: dict[str, Any]) -> None:
    detail = healthy["eval_result_details"][3]
    for name in detail:
        if name.startswith("sae_") and detail[name] is not None:
            detail[name] = 0.5
    del healthy["eval_result_metrics"]["llm"]["llm_test_accuracy"]
    found = [f for f in check_results(healthy) if f.code == "exact-chance"]
    assert [f.severity for f in found] == ["warn"]
    assert "amazon_reviews_mcauley_1and5" in found[0].message


def test_one_or_two_accuracies_at_chance_may_be_bad_luck(healthy: dict[str, Any]) -> None:
    healthy["eval_result_metrics"]["sae"] = {"sae_test_accuracy": 0.5}
    found = [f for f in check_results(healthy) if f.code == "exact-chance"]
    assert [f.severity for f in found] == ["warn"]


def test_a_constant_language_model_is_found_out(healthy: dict[str, Any]) -> None:
    means = healthy["eval_result_metrics"]["llm"]
    healthy["eval_result_metrics"]["llm"] = dict.fromkeys(means, 0.5)
    assert ("fail", "reference-at-chance") in kinds(check_results(healthy))


def test_a_leak_on_one_data_set_is_told_and_small_test_sets_are_not(
    healthy: dict[str, Any], embedded: dict[str, Any]
) -> None:
    for file, expected in ((healthy, 1), (embedded, 0)):
        detail = file["eval_result_details"][0]
        detail["sae_top_1_test_accuracy"] = detail["llm_test_accuracy"] + 0.08
        assert [f.code for f in check_results(file)].count("better-than-model") == expected
        detail["sae_top_1_test_accuracy"] = None
    # k features may beat k neurons of the model: that is what they are for
    healthy["eval_result_details"][0]["sae_top_1_test_accuracy"] = 0.9
    assert "better-than-model" not in {f.code for f in check_results(healthy)}


def test_unknown_figures_of_parameters_are_not_asked(healthy: dict[str, Any]) -> None:
    """With one logged step the harness knows no change; other writers say nothing at all."""
    for integrity in (
        {"parameters": 10, "non_finite": 0, "changed": None, "relative_change": None},
        {},
        None,
        "all fine",
    ):
        healthy["integrity"] = integrity
        assert check_results(healthy) == ()
    healthy["integrity"] = {"relative_change": 0}
    assert ("fail", "unchanged-parameters") in kinds(check_results(healthy))


def test_no_better_than_untrained_is_graver_where_reconstruction_is_not_better_either(
    embedded: dict[str, Any],
) -> None:
    embedded["untrained"] = dict.fromkeys(embedded["untrained"], 0.99)
    (found,) = check_results(embedded)
    assert (found.severity, found.code) == ("warn", "no-better-than-untrained")
    embedded["untrained"]["explained_variance"] = 0.465
    (found,) = check_results(embedded)
    assert (found.severity, found.code) == ("info", "no-better-than-untrained")
    assert "0.858 against 0.465" in found.message
    embedded["untrained"] = None  # could not be kept
    assert check_results(embedded) == ()


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
        "integrity",
        "untrained",
        "data",
        "device",
        "smoke",
        "explained_variance",
        "accuracy",
    ]
)
PARTS = st.sampled_from(
    [
        "dataset_names",
        "k_values",
        "sae",
        "llm",
        "hook_layer",
        "d_sae",
        "d_in",
        "curves",
        "granted",
        "means",
        "final_info_dict",
        "parameters",
        "non_finite",
        "changed",
        "relative_change",
        "sae_test_accuracy",
        "explained_variance",
        "corpus",
        "probing",
        "loss",
        "probe_test_set_size",
        "training_tokens",
    ]
)
NOISES = st.none() | st.builds(
    noise_floor,
    st.lists(st.dictionaries(FIELDS, st.floats(-1, 1)), min_size=3, max_size=3),
    st.just((0, 1, 2)),
)


FILES = st.dictionaries(FIELDS, JSON | st.dictionaries(PARTS, JSON, max_size=5))


def _as_sae(info: dict[str, Any]) -> dict[str, Any]:
    """The same with the parts by which it passes for an SAE's file."""
    sae = info.get("metrics")
    if isinstance(sae, dict):
        sae = sae | {"sae_top_1_test_accuracy": 0.4}
    details = info.get("data")
    return info | {
        "eval_result_metrics": {"sae": sae, "llm": info.get("layer")},
        "eval_result_details": [details, {"dataset_name": "a_results", "sae_test_accuracy": 0.5}],
    }


@settings(deadline=None)
@given(FILES, FILES, st.booleans(), st.booleans(), NOISES)
def test_anything_may_stand_in_a_file(
    info: dict[str, Any], baseline: dict[str, Any], sae: bool, before: bool, noise: Noise | None
) -> None:
    info = _as_sae(info) if sae else info
    baseline = _as_sae(baseline) if before else baseline
    copies = copy.deepcopy((info, baseline))
    for other in (None, info, baseline):
        findings = check_results(info, other, noise=noise)
        assert all(finding.code and 0 < len(finding.message) <= 600 for finding in findings)
        assert findings == check_results(info, other, noise=noise)
    assert (info, baseline) == copies


def test_huge_and_strange_values_are_shown_in_bounds(healthy: dict[str, Any]) -> None:
    for value in (10**5000, "x" * 10_000, ["y" * 100] * 100, {"z" * 500: 1}, True, -(10**300)):
        file = copy.deepcopy(healthy)
        for name in ("final_loss", "training_steps", "dict_size", "layer", "l0", "eval_id"):
            file[name] = value
        for name in ("k_values", "model_name", "llm_dtype", "dataset_names"):
            file["eval_config"][name] = value
        file["sae_cfg_dict"] = dict.fromkeys(file["sae_cfg_dict"], value)
        findings = check_results(file, healthy)
        assert findings and all(len(finding.message) <= 600 for finding in findings)
