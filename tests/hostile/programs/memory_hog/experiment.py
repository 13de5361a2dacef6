"""600 MB of memory against a limit of 200 MB."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    hoard = []
    for _ in range(60):
        hoard.append(bytearray(os.urandom(4096) * 2560))
    kit.linger(5)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
