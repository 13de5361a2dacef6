"""Becomes a program that never ends."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    os.execv("/bin/sleep", ["sleep-" + kit.MARK, "30"])


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
