"""Puts folders and links where the shim will write its records."""

from __future__ import annotations

import os
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    record = Path(os.environ["AGENT_RUNNER_RECORD_DIR"])
    for folder in (record, record.parent):
        for name in (
            "exit.json",
            "result.json",
            "exit.json.tmp",
            "started.json",
            "exception.json",
            "events.jsonl",
            "stdout.log",
            "stderr.log",
            "turns.log",
            "faulthandler.log",
        ):
            with kit.step(f"{folder} {name}"):
                Path(folder, name).unlink(missing_ok=True)
                Path(folder, name).mkdir()
                kit.scribble(Path(folder, name, "inside"))
    os._exit(7)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
