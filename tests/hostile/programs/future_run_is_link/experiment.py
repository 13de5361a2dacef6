"""Makes its next run's folder a link to the outside, so that the next run writes there."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    for number in range(2, 6):
        with kit.step(f"run_{number}"):
            os.symlink(kit.TARGETS["outside"], f"run_{number}")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
