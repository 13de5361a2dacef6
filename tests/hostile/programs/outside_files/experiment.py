"""Writes, truncates and makes files outside, by absolute path and by .."""

from __future__ import annotations

import os
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    outside = Path(kit.TARGETS["outside"])
    kit.scribble(outside / "canary.txt")
    kit.scribble(outside / kit.NAME)
    kit.scribble("/proc/self/root" + str(outside / "canary2.txt"))
    with kit.step("truncate"):
        os.truncate(outside / "canary3.txt", 0)
    with kit.step("make a folder"):
        (outside / (kit.NAME + ".d")).mkdir()
    kit.scribble(os.path.relpath(outside / "canary.txt"))
    kit.scribble(kit.TARGETS["private_file"])


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
