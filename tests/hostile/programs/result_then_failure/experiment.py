"""An honest result, and exit code 7."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    kit.finish(out, 1)
    os._exit(7)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
