"""200 dead children, never waited for."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    for _ in range(200):
        if os.fork() == 0:
            os._exit(0)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
