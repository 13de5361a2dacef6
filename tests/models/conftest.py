from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_stand_in import FILES, WEIGHTS, Hub, Repository, running

from agent_runner.models import Machine

GIB = 2**30


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub with an open model, a gated and a private one, a data set, and an account with access to all."""
    importlib.import_module("huggingface_hub.hf_api")  # takes its time, once
    with running() as hub:
        hub.repositories = {
            "org/small": Repository(FILES),
            "org/gated": Repository(FILES, gated=True),
            "org/private": Repository(FILES, private=True),
            "org/texts": Repository(
                {"data/train.parquet": WEIGHTS, "README.md": b"x"}, kind="dataset"
            ),
        }
        hub.accounts = {
            "hf_member": frozenset({"org/gated", "org/private"}),
            "hf_stranger": frozenset(),
        }
        yield hub


@pytest.fixture
def template(tmp_path: Path) -> Path:
    (tmp_path / "template" / "model").mkdir(parents=True)
    (tmp_path / "template" / "model" / "config.json").write_text("{}")
    return tmp_path / "template"


@pytest.fixture
def machine(hub: Hub, tmp_path: Path) -> Machine:
    return Machine(
        hub_cache=tmp_path / "hub",
        free_memory_bytes=64 * GIB,
        free_disk_bytes=64 * GIB,
        endpoint=hub.url,
    )


@pytest.fixture
def memo(tmp_path: Path) -> Path:
    return tmp_path / "memo.json"
