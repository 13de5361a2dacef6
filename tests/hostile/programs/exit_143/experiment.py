"""Exits with 143, which looks like a signal to a shell."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    os._exit(143)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
