"""An exception record of 100,000 nested lists."""

from __future__ import annotations

import os
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    record = Path(os.environ["AGENT_RUNNER_RECORD_DIR"])
    with kit.step("plant"):
        (record / "exception.json").write_text("[" * 100000)
    os._exit(5)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
