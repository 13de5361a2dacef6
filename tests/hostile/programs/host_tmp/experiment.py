"""Leaves files in the host's shared scratch folders."""

from __future__ import annotations

import kit

VARIANT = 0


def attack(out: str) -> None:
    for folder in ("/tmp", "/var/tmp", "/run", "/run/lock", "/var/lock", "/dev"):
        kit.scribble(f"{folder}/{kit.NAME}")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
