"""Fixtures of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from shim_jobs import ShimJob


@pytest.fixture
def job(tmp_path: Path) -> ShimJob:
    """A job in a folder of its own, not started yet."""
    return ShimJob(tmp_path)
