"""An exception record of 1 GB (sparse) and events of 1 GB."""

from __future__ import annotations

import os
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    record = Path(os.environ["AGENT_RUNNER_RECORD_DIR"])
    with kit.step("plant"):
        with open(record / "exception.json", "wb") as file:
            file.truncate(1 << 30)
        with open(record / "events.jsonl", "wb") as file:
            file.truncate(1 << 30)
    os._exit(5)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
