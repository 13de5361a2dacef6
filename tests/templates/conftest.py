"""Template folders with the small language model, and running commands in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sae_template import build_embedded, copy_template

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def tiny_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A template folder with the small model; tests that write into one make their own copy."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    folder = copy_template(tmp_path_factory.mktemp("template"))
    build_embedded(folder / "embedded")
    return folder


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def template(tiny_template: Path, tmp_path: Path) -> Path:
    """A copy of its own."""
    return Path(
        shutil.copytree(
            tiny_template, tmp_path / "template", ignore=shutil.ignore_patterns("run_*")
        )
    )


@pytest.fixture
def run(tmp_path: Path, shared_cache: Path) -> Run:
    """Runs a command of the template in a folder, in a clean environment; AGENT_RUNNER_* by keyword."""

    def start(folder: Path, *argv: str, **settings: str) -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("AGENT_RUNNER_", "HF_"))}
        env |= {"HF_HOME": str(tmp_path / "hf"), "AGENT_RUNNER_CACHE": str(shared_cache)}
        env |= {"OMP_NUM_THREADS": "2", **settings}
        return subprocess.run(
            [sys.executable, *argv],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )

    return start
