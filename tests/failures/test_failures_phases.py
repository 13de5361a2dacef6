"""The phase of a failure that reported none: from the calls that were open, or none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent_runner.failures import Evidence, diagnose
from agent_runner.failures.location import Places
from agent_runner.failures.phases import phase_of
from agent_runner.failures.raised import Frame
from agent_runner.records import JobExit

PLACES = Places("/idea", ("experiment.py",))


def own(function: str, code: str = "x()") -> Frame:
    return Frame("/idea/experiment.py", 1, function, code)


def library(function: str) -> Frame:
    return Frame("/venv/lib/python3.11/site-packages/torch/x.py", 1, function, "y()")


@pytest.mark.parametrize(
    ("stack", "phase"),
    [
        ([own("<module>"), own("train_sae"), own("encode")], "training"),
        ([own("<module>"), own("run_sae_training"), own("save_eval")], "training"),
        (
            [own("<module>"), own("evaluate_trained_sae"), library("fit"), own("encode")],
            "evaluation",
        ),
        ([own("main"), own("sparse_probing"), own("encode")], "evaluation"),
        ([own("main"), library("from_pretrained")], "model load"),
        ([own("main"), own("load_language_model"), library("x")], "model load"),
        ([own("main"), own("load_training_data")], "data"),
        ([own("main"), own("__getitem__")], "data"),
        ([own("main"), library("load_dataset")], "data"),
        ([own("main"), own("step"), library("backward")], "training"),
        ([own("<module>", "import torch"), library("<module>")], "import"),
        ([own("<module>"), Frame("<frozen importlib._bootstrap>", 1, "_load")], "import"),
        ([own("main"), own("save_results", "json.dump(info, file)")], "writing results"),
        ([own("main", "json.dump(final_info, file)"), library("dump")], "writing results"),
        ([own("main"), own("encode")], None),
        ([own("main"), own("trainer"), own("tester"), own("model"), own("loader")], None),
        ([library("train"), library("evaluate")], None),
        ([], None),
    ],
)
def test_of_a_stack(stack: list[Frame], phase: str | None) -> None:
    assert phase_of(stack, PLACES) == phase


def test_what_was_reported_goes_first() -> None:
    frames = [{"file": "/idea/experiment.py", "line": 3, "function": "train", "code": "x"}]
    record = {"chain": [{"type": "ValueError", "message": "no", "frames": frames}]}
    evidence = Evidence(
        exit=JobExit(reason="exited", returncode=1),
        exception=record,
        root="/idea",
        editable=("experiment.py",),
    )
    failure = diagnose(evidence)
    assert failure is not None and failure.phase == "training"
    failure = diagnose(replace(evidence, phase="evaluation"))
    assert failure is not None and failure.phase == "evaluation"
