"""Looks for descriptors beyond 0-2 that were left open to it."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    for number in range(3, 1024):
        with kit.step(f"descriptor {number}"):
            where = os.readlink(f"/proc/self/fd/{number}")
            if where.startswith(("pipe:", "anon_inode:", "/proc")):
                continue
            kit.claim(f"descriptor {number} of {where}")
            os.set_blocking(number, False)
            kit.loot(os.read(number, 4096))


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
