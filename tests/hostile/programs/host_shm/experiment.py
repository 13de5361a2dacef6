"""Leaves a file in the host's shared memory folder."""

from __future__ import annotations

import kit

VARIANT = 0


def attack(out: str) -> None:
    kit.scribble(f"/dev/shm/{kit.NAME}")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
