"""Every test starts from a clean environment and can never touch the user's own state."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SEEDS = Path(__file__).resolve().parents[2] / "shared" / "seeds"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("AGENT_RUNNER_", "GIT_", "HF_", "TRANSFORMERS_")):
            monkeypatch.delenv(name)
    # No test asks the real model hub; those about it have a stand-in of their own.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def seeds() -> Path:
    """The five recorded conversations; they are not part of this repository."""
    if not SEEDS.is_dir():
        pytest.skip("the recorded conversations (../shared/seeds) are not on this machine")
    return SEEDS
