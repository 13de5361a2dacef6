"""100,000 writes of one byte."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    for _ in range(100000):
        os.write(1, b".")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
