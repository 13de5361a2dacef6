"""Prints an error and exits with 0, without a result."""

from __future__ import annotations

import os
import sys

import kit

VARIANT = 0


def attack(out: str) -> None:
    print("RuntimeError: nothing worked", file=sys.stderr, flush=True)
    os._exit(0)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
