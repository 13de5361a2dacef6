"""Renames, removes and links files outside."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    outside = Path(kit.TARGETS["outside"])
    with kit.step("rename"):
        (outside / "canary.txt").rename(outside / kit.NAME)
    with kit.step("remove"):
        (outside / "canary2.txt").unlink()
    with kit.step("link"):
        (outside / (kit.NAME + ".link")).symlink_to("/etc/passwd")
    with kit.step("carry off"):
        shutil.move(str(outside / "canary3.txt"), os.path.join(out, "carried.txt"))
    with kit.step("carry in"):
        Path(out, "in.txt").write_text(kit.SCRIBBLE)
        os.rename(os.path.join(out, "in.txt"), outside / (kit.NAME + ".in"))


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
