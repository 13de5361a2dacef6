"""The exception record is a pipe without a writer."""

from __future__ import annotations

import os
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    record = Path(os.environ["AGENT_RUNNER_RECORD_DIR"])
    with kit.step("plant"):
        (record / "exception.json").unlink(missing_ok=True)
        os.mkfifo(record / "exception.json")
        (record / "events.jsonl").unlink(missing_ok=True)
        os.mkfifo(record / "events.jsonl")
    os._exit(5)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
