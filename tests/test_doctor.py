from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agent_runner.doctor import examine, judge_distributions, judge_levels
from agent_runner.records import LevelReport

LINTERS = {"ruff": "", "ty": "ty is not installed"}
GOOD = {
    "torch": "2.13.0+cpu",
    "transformer-lens": "3.9.0",
    "sae-bench": "0.6.0",
    "transformers": "5.23.0",
    "datasets": "3.6.0",
    "numpy": "1.26.4",
    "scikit-learn": "1.9.1",
    "beartype": "0.14.1",
}


def statuses(**changes: str) -> dict[str, str]:
    distributions = {**GOOD, **{name.replace("_", "-"): v for name, v in changes.items()}}
    checks = judge_distributions(distributions, (3, 11), "py")
    return {check.name: check.status for check in checks if check.status != "ok"}


def test_the_pinned_set_has_no_trap() -> None:
    assert statuses() == {}


@pytest.mark.parametrize(
    ("name", "version", "status", "remedy"),
    [
        ("torchvision", "0.28.0", "fail", "py -m pip uninstall -y torchvision"),
        ("beartype", "0.23.1", "warn", "py -m pip install beartype==0.14.1"),
        ("scikit-learn", "1.10.0", "fail", "py -m pip install 'scikit-learn<1.10'"),
        ("nvidia-nccl-cu12", "2.32.3", "warn", "py -m pip uninstall -y nvidia-nccl-cu12"),
        ("numpy", "2.3.0", "fail", "py -m pip install 'numpy<2'"),
    ],
)
def test_each_trap_is_recognised_with_its_mending_command(
    name: str, version: str, status: str, remedy: str
) -> None:
    checks = judge_distributions({**GOOD, name: version}, (3, 11), "py")
    (found,) = [check for check in checks if check.status != "ok"]
    assert (found.name, found.status, found.remedy) == (name, status, remedy)


def test_a_matching_torchvision_and_a_cuda_torch_are_fine() -> None:
    assert statuses(torchvision="0.28.0+cpu") == {}
    assert statuses(torch="2.13.0", torchvision="0.28.0", nvidia_nccl_cu12="2.32") == {}


def test_a_missing_extra_is_a_warning_not_a_failure() -> None:
    (check,) = judge_distributions({}, (3, 12))
    assert (check.name, check.status) == ("sae extra", "warn")
    assert "other templates can" in check.message


def test_a_python_that_sae_bench_has_no_numpy_for_is_named() -> None:
    names = [c.name for c in judge_distributions(GOOD, (3, 13)) if c.status == "warn"]
    assert names == ["python (experiments)"]


LEVELS = [
    LevelReport(level="L0", works=True, reason="none"),
    LevelReport(level="L1", works=True, reason="19 probes"),
    LevelReport(level="L2", works=False, reason="bwrap is not installed"),
]


def test_the_isolation_of_runs_is_told_and_how_to_get_more() -> None:
    checks = {check.name: check for check in judge_levels(LEVELS)}
    assert checks["sandbox"].status == "warn" and "at L1" in checks["sandbox"].message
    assert "apt-get install bubblewrap" in checks["sandbox"].remedy
    assert "bwrap is not installed" in checks["sandbox L2"].message
    none = judge_levels(LEVELS[:1])[-1]
    assert none.status == "warn" and "with all your rights" in none.message
    best = judge_levels([*LEVELS[:2], LevelReport(level="L2", works=True)])[-1]
    assert best.status == "ok" and "at L2" in best.message


def test_this_machine_can_be_examined(tmp_path: Path) -> None:
    checks = {
        check.name: check for check in examine(Path(sys.executable), tmp_path, LINTERS, LEVELS)
    }
    assert checks["python"].status == "ok"
    assert checks["git"].status == "ok"
    assert {"sqlite", "disk", "gpu", "sae extra"} <= set(checks)


def test_a_linter_that_cannot_be_used_is_a_warning(tmp_path: Path) -> None:
    checks = {
        check.name: check for check in examine(Path(sys.executable), tmp_path, LINTERS, LEVELS)
    }
    assert checks["ruff"].status == "ok"
    assert checks["ty"].status == "warn" and "ty is not installed" in checks["ty"].message
    assert "pip install ty" in checks["ty"].remedy


def test_an_interpreter_that_does_not_answer_is_said(tmp_path: Path) -> None:
    checks = {
        check.name: check for check in examine(tmp_path / "python", tmp_path, LINTERS, LEVELS)
    }
    assert checks["interpreter"].status == "fail"
    assert "AGENT_RUNNER_PYTHON" in checks["interpreter"].remedy
