"""No final_info.json, and a clean exit."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    os._exit(0)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
