"""Jobs through LocalExecutor, as the service starts them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent_runner.records import JobSpec, Limits

_PATIENCE_S = 60.0


def until(ask: Callable[[], Any]) -> Any:
    """Wait until the answer is true, and return it."""
    deadline = time.monotonic() + _PATIENCE_S
    while not (answer := ask()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return answer


def spec(folder: Path, code: str = "", **options: Any) -> JobSpec:
    """A job that runs `code` in `folder/work` and keeps its records in `folder/record`."""
    work, record = folder / "work", folder / "record"
    work.mkdir(exist_ok=True)
    values: dict[str, Any] = {
        "job_id": "idea/run_1",
        "argv": (sys.executable, "-I", "-S", "-c", code),
        "cwd": str(work),
        "env": {"PATH": os.defpath, "AGENT_RUNNER_RECORD_DIR": str(record / "job")},
        "record_dir": str(record),
        "limits": Limits(time_s=120),
    }
    return JobSpec(**{**values, **options})


@pytest.fixture
def until_true() -> Callable[[Callable[[], Any]], Any]:
    return until


@pytest.fixture
def make_spec(tmp_path: Path) -> Callable[..., JobSpec]:
    return lambda code="", **options: spec(tmp_path, code, **options)
