"""A progress bar that redraws itself 300,000 times, then fails."""

from __future__ import annotations

import sys

import kit

VARIANT = 0


def attack(out: str) -> None:
    for number in range(300000):
        sys.stderr.write(f"\r{number}/300000 it/s")
    raise RuntimeError("after the bar")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
