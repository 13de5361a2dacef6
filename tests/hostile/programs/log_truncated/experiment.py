"""Opens its own stdout anew and cuts it off, to hide what it printed."""

from __future__ import annotations

import os
import sys

import kit

VARIANT = 0


def attack(out: str) -> None:
    print("keep-" + kit.MARK, flush=True)
    print("keep-" + kit.MARK, file=sys.stderr, flush=True)
    for number in (1, 2):
        with kit.step(f"open {number}"):
            os.close(os.open(f"/proc/self/fd/{number}", os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK))
        with kit.step(f"truncate {number}"):
            os.ftruncate(number, 0)
        with kit.step(f"seek {number}"):
            os.lseek(number, 0, os.SEEK_SET)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
