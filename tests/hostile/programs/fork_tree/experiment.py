"""Children that fork children: 2 to the power of 7 of them, all waiting."""

from __future__ import annotations

import os

import kit

VARIANT = 0


leader = os.getpid()


def attack(out: str) -> None:
    for _ in range(7):
        with kit.step("fork"):
            os.fork()
    if os.getpid() != leader:
        kit.linger()


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
