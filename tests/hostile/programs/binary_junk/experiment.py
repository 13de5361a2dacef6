"""Random bytes on both streams, then a failure: the report must still be text."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    os.write(1, os.urandom(300000))
    os.write(2, os.urandom(300000))
    raise ValueError("\udcff\ud800 odd")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
