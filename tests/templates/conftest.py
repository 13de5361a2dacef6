"""Template folders with the small language model, and running commands in them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sae_template import Run, build_embedded, command, copy_template


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
    return command(tmp_path / "hf", shared_cache)
