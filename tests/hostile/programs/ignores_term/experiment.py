"""Ignores SIGTERM and all else at its time limit."""

from __future__ import annotations

import signal

import kit

VARIANT = 0


def attack(out: str) -> None:
    for number in range(1, 65):
        with kit.step(str(number)):
            signal.signal(number, signal.SIG_IGN)
    while True:
        signal.pause()


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
