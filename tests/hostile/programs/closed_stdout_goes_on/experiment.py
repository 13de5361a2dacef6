"""Closes stdout and stderr and never ends: end of file is not the end."""

from __future__ import annotations

import os
import signal

import kit

VARIANT = 0


def attack(out: str) -> None:
    os.closerange(0, 3)
    signal.pause()


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
