"""Replaces its run folder by a link to a folder outside, with a valid result in it."""

from __future__ import annotations

import os
import shutil

import kit

VARIANT = 0


def attack(out: str) -> None:
    planted = kit.TARGETS["planted"]
    shutil.rmtree(out)
    os.symlink(planted, out)
    for path in (f"{out}/{kit.NAME}", f"{planted}/{kit.NAME}"):
        kit.scribble(path)
    os._exit(0)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
