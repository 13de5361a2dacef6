"""Leaves links to secrets among its results and records, for the collector to follow."""

from __future__ import annotations

import os
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    record = Path(os.environ["AGENT_RUNNER_RECORD_DIR"])
    for number, path in enumerate(kit.TARGETS["secret_files"]):
        for folder in (Path(out), record):
            with kit.step(f"{folder} {path}"):
                (folder / f"notes-{number}.txt").symlink_to(path)
    with kit.step("a folder"):
        Path(out, "folder").symlink_to(kit.TARGETS["fake_home"], target_is_directory=True)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
