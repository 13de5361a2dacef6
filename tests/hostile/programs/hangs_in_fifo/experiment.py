"""Opens a pipe that nobody writes to."""

from __future__ import annotations

import os
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    path = os.path.join(out, "pipe")
    os.mkfifo(path)
    Path(path).read_text()


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
