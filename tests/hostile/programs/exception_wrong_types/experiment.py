"""An exception record whose every field has the wrong type."""

from __future__ import annotations

import json
import os
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    record = Path(os.environ["AGENT_RUNNER_RECORD_DIR"])
    with kit.step("plant"):
        (record / "exception.json").write_text(
            json.dumps(
                {
                    "schema_version": [],
                    "type": 7,
                    "exception_type": {},
                    "message": [None],
                    "frames": {"a": 1},
                    "causes": 3,
                    "exceptions": [[[1]]],
                    "chain": "x",
                }
            )
        )
    os._exit(5)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
