"""Daemons that ignore every signal that can be ignored."""

from __future__ import annotations

import os
import signal

import kit

VARIANT = 0


def attack(out: str) -> None:
    if kit.detach():
        null = os.open("/dev/null", os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)

        for number in range(1, 65):
            with kit.step(str(number)):
                signal.signal(number, signal.SIG_IGN)
        kit.linger()


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
