"""Writes its result, then hangs on the way out."""

from __future__ import annotations

import atexit
import signal

import kit

VARIANT = 0


def attack(out: str) -> None:
    atexit.register(signal.pause)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
