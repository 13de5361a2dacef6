"""An SAE's file beside its baseline's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from agent_runner.records import Finding
from agent_runner.results import check_comparison, check_results, compare, noise_floor


@pytest.fixture
def edited(healthy: dict[str, Any]) -> dict[str, Any]:
    """An honest run beside `healthy`: another evaluation, slightly other numbers."""
    other = copy.deepcopy(healthy) | {"eval_id": "another", "l0": 47.9}
    other["metrics"]["l0"] = 47.9
    return other


def kinds(findings: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(finding.severity, finding.code) for finding in findings]


def test_an_honest_run_has_no_findings(healthy: dict[str, Any], edited: dict[str, Any]) -> None:
    assert check_results(edited, healthy) == ()


def test_the_same_file_again_is_stale(healthy: dict[str, Any]) -> None:
    findings = check_results(healthy, copy.deepcopy(healthy))
    assert kinds(findings) == [("fail", "same-eval"), ("warn", "identical")]


def test_an_edit_without_effect_is_told(healthy: dict[str, Any]) -> None:
    again = copy.deepcopy(healthy) | {"eval_id": "another", "datetime_epoch_millis": 2}
    assert kinds(check_results(again, healthy)) == [("warn", "identical")]


def test_an_edit_that_only_changes_the_loss_is_told(healthy: dict[str, Any]) -> None:
    """With Adam, a loss times two trains the same SAE."""
    again = copy.deepcopy(healthy) | {"eval_id": "another", "final_loss": 122.4}
    again["training"]["curves"]["loss"] = [360.0, 122.4]
    again["metrics"]["final_loss"] = 122.4
    (found,) = check_results(again, healthy)
    assert (found.severity, found.code) == ("warn", "identical")
    assert "only the loss differs" in found.message


def test_moved_references_and_settings_forbid_comparison(
    healthy: dict[str, Any], edited: dict[str, Any]
) -> None:
    edited["eval_config"]["random_seed"] = 43
    edited["eval_config"]["llm_batch_size"] = 8  # changes no number
    for scores in (
        edited["metrics"],
        edited["eval_result_metrics"]["llm"],
        *edited["eval_result_details"],
    ):
        scores["llm_top_1_test_accuracy"] += 0.01
    found = {finding.code: finding for finding in check_results(edited, healthy)}
    assert set(found) == {"config-differs", "reference-moved"}
    assert "random_seed 43 (baseline 42)" in found["config-differs"].message
    assert "batch" not in found["config-differs"].message
    assert "llm_top_1_test_accuracy +0.0100" in found["reference-moved"].message


def _layer_3(file: dict[str, Any]) -> None:
    file["layer"] = 3
    file["sae_lens_release_id"] = "gemma_layer_3_sae"
    file["sae_cfg_dict"] |= {"hook_layer": 3, "hook_name": "blocks.3.hook_resid_post"}


def _in(*path: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(file: dict[str, Any]) -> None:
        for step in path[:-1]:
            file = file[step]
        file[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (_layer_3, ["hook_layer 3 (baseline 5)", "blocks.3.hook_resid_post"]),
        (_in("sae_cfg_dict", "d_in", to=512), ["d_in 512 (baseline 2304)"]),
        (_in("eval_config", "llm_dtype", to="float32"), ["llm_dtype 'float32'"]),
        (_in("device", to="cpu"), ["device 'cpu' (baseline 'cuda')"]),
        (_in("data", "corpus_digest", to="ef"), ["corpus_digest 'ef'"]),
        (_in("data", "probing", "ag", to="gh"), ["probing.ag 'gh'"]),
    ],
)
def test_what_is_evaluated_otherwise_cannot_be_compared(
    healthy: dict[str, Any],
    edited: dict[str, Any],
    change: Callable[[dict[str, Any]], None],
    facts: list[str],
) -> None:
    change(edited)
    (found,) = [f for f in check_results(edited, healthy) if f.code == "config-differs"]
    assert found.severity == "fail"
    assert all(fact in found.message for fact in facts)


def test_another_gpu_of_the_machine_is_no_other_device(
    healthy: dict[str, Any], edited: dict[str, Any]
) -> None:
    edited["device"] = "cuda:1"
    assert check_results(edited, healthy) == ()


def test_another_size_and_other_steps_are_told_and_may_be_compared(
    healthy: dict[str, Any], edited: dict[str, Any]
) -> None:
    edited |= {"dict_size": 18432, "training_steps": 3906}
    edited["sae_cfg_dict"]["d_sae"] = 18432
    assert kinds(check_results(edited, healthy)) == [
        ("warn", "size-differs"),
        ("info", "training-differs"),
    ]


def test_a_file_that_the_harness_did_not_write_is_told(
    healthy: dict[str, Any], edited: dict[str, Any]
) -> None:
    written_by_hand = {"metrics": {"sae_test_accuracy": 0.999, "l0": 20.0}}
    codes = {f.code: f.severity for f in check_results(written_by_hand, healthy)}
    assert codes == {"other-kind": "fail", "metrics-missing": "warn"}
    del edited["integrity"], edited["training"]
    edited["eval_result_metrics"]["llm"] = {}
    edited["metrics"] = {n: v for n, v in edited["metrics"].items() if not n.startswith("llm_")}
    found = {finding.code: finding for finding in check_results(edited, healthy)}
    assert set(found) == {"no-reference", "sections-missing", "metrics-missing"}
    assert "integrity, training" in found["sections-missing"].message


def test_a_degenerate_baseline_is_refused(
    untrained: dict[str, Any], healthy: dict[str, Any]
) -> None:
    found = next(f for f in check_results(healthy, untrained) if f.code == "degenerate-baseline")
    assert found.severity == "fail"
    assert "no-training, no-loss, exact-chance" in found.message


# ------------------------------------------------------------------ within the noise


def test_a_difference_within_the_noise_is_told(
    healthy: dict[str, Any], edited: dict[str, Any]
) -> None:
    repeats = [healthy["metrics"] | {"l0": value} for value in (48.5, 47.2, 49.1, 48.0)]
    noise = noise_floor(repeats, (0, 1, 2, 3))
    assert kinds(check_results(edited, healthy, noise=noise)) == [("info", "within-noise")]
    edited["l0"] = edited["metrics"]["l0"] = 12.0
    assert check_results(edited, healthy, noise=noise) == ()


def test_nothing_is_said_of_noise_that_was_not_measured() -> None:
    noise = noise_floor([{"a": 1.0, "b": 2.0}, {"a": 1.5}], (0, 1))
    assert check_comparison(compare({"a": 1.2, "b": 2.1}, {"a": 1.0, "b": 2.0}, "run_0")) == ()
    compared = compare({"a": 1.2, "b": 2.1}, {"a": 1.0, "b": 2.0}, "run_0", noise=noise)
    assert check_comparison(compared) == ()  # b moved, and nobody knows how far it usually does
    compared = compare({"a": 1.0}, {"a": 1.0}, "run_0", noise=noise)
    assert check_comparison(compared) == ()  # nothing differs at all
