"""Servers killed at random moments: a short storm; benchmarks/faults.py has the long one."""

from __future__ import annotations

from pathlib import Path

from random_kills import storm


def test_a_storm_of_kills(tmp_path: Path) -> None:
    kills, failures = storm(tmp_path, seconds=8.0, ideas=3)
    assert not failures, failures
    assert kills >= 5, "hardly any server was killed"
