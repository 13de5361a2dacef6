"""Puts a link to a secret where the runner looks for events.jsonl, then fails."""

from __future__ import annotations

import os
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    record = Path(os.environ["AGENT_RUNNER_RECORD_DIR"])
    with kit.step("link"):
        (record / "events.jsonl").unlink(missing_ok=True)
        (record / "events.jsonl").symlink_to(kit.TARGETS["secret_files"][0])
    os._exit(3)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
