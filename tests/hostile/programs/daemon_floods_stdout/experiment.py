"""A daemon goes on writing to stdout after the main process ended."""

from __future__ import annotations

import os
import signal

import kit

VARIANT = 0


def attack(out: str) -> None:
    if kit.detach():
        signal.alarm(20)
        while True:
            os.write(1, b"still here\n" * 1000)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
