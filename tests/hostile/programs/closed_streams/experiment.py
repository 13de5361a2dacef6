"""Closes all its descriptors, works on, and ends well."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    kit.finish(out, 1)
    os.closerange(0, 100)
    os._exit(0)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
