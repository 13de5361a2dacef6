"""GPUs inside a sandbox: those that were granted, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from sandbox_jobs import SANDBOXED, Ground, need

from agent_runner.leases import discover

LOOK = """
import glob, json, torch
print(json.dumps({
    "nodes": sorted(glob.glob("/dev/nvidia*")),
    "count": torch.cuda.device_count(),
    "sum": float(torch.ones(1000, device="cuda").sum()) if torch.cuda.is_available() else None,
}))
"""


@pytest.mark.gpu
@SANDBOXED
def test_a_granted_gpu_can_be_used_and_others_are_not_there(level: str, tmp_path: Path) -> None:
    need(level)
    gpus = discover()
    if not gpus:
        pytest.skip("there is no GPU here")
    gpu = gpus[0]
    seen = Ground(tmp_path).say(
        LOOK,
        level,
        confinement={"devices": gpu.devices},
        env={"CUDA_VISIBLE_DEVICES": gpu.uuid},
    )
    assert (seen["count"], seen["sum"]) == (1, 1000.0)
    assert set(seen["nodes"]) <= {*gpu.devices, "/dev/nvidia-caps"}


@pytest.mark.gpu
@SANDBOXED
def test_without_a_grant_there_is_no_gpu(level: str, tmp_path: Path) -> None:
    need(level)
    if not discover():
        pytest.skip("there is no GPU here")
    seen = Ground(tmp_path).say(LOOK, level)
    assert seen == {"nodes": [], "count": 0, "sum": None}
