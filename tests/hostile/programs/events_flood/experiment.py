"""Writes 150 MB of events without one line end."""

from __future__ import annotations

import os
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    record = Path(os.environ["AGENT_RUNNER_RECORD_DIR"])
    with kit.step("flood"), open(record / "events.jsonl", "ab") as file:
        for _ in range(150):
            file.write(b"x" * (1 << 20))


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
