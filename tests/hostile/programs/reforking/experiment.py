"""A process that replaces itself by a copy every 2 ms, faster than a killer can look."""

from __future__ import annotations

import os
import select
import time

import kit

VARIANT = 0


def attack(out: str) -> None:
    if kit.detach():
        null = os.open("/dev/null", os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)

        end = time.monotonic() + 20
        while time.monotonic() < end:
            if os.fork():
                os._exit(0)
            os.setsid()
            select.select([], [], [], 0.002)
        os._exit(0)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
