"""What level L1 asks of the kernel before it relies on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_runner.execution import landlock, shutting_in
from agent_runner.execution.job_files import Limits, Spec


@pytest.mark.parametrize("version", [0, 1, 3, 5])
def test_a_kernel_that_does_not_hold_back_signals_is_not_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    """Before ABI 6 a run could stop or kill every process of its user, the server among them."""
    monkeypatch.setattr(landlock, "abi", lambda: version)
    spec = Spec("x", ("true",), str(tmp_path), {}, str(tmp_path), Limits())
    with pytest.raises(OSError, match=f"version {version}, 6 is needed"):
        shutting_in.restrict(spec)
