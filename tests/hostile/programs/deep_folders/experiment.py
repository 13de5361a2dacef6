"""2,000 folders, one in the other: longer than any path may be."""

from __future__ import annotations

import os
from pathlib import Path

import kit

VARIANT = 0


start = Path.cwd()


def attack(out: str) -> None:
    os.chdir(out)
    for _ in range(2000):
        os.mkdir("d")
        os.chdir("d")
    kit.finish(str(start / out), 1)
    os._exit(0)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
