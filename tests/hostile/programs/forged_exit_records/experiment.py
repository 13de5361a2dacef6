"""Writes the shim's and the server's records itself (exit 0, a fine result), then fails with 7."""

from __future__ import annotations

import json
import os
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    record = Path(os.environ["AGENT_RUNNER_RECORD_DIR"])
    forged = json.dumps(
        {
            "schema_version": 1,
            "returncode": 0,
            "exit_code": 0,
            "code": 0,
            "signal": None,
            "outcome": "succeeded",
            "status": "succeeded",
            "reason": None,
            "metrics": {"score": 777.0},
        }
    )
    for folder in (record, record.parent, record.parent.parent):
        for name in (
            "exit.json",
            "result.json",
            "observation.json",
            "run.json",
            "spec.json",
            "job.json",
            "started.json",
            "status.json",
        ):
            with kit.step(f"{folder} {name}"):
                Path(folder, name).write_text(forged)
    os._exit(7)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
