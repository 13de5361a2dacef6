"""Blocks all signals, and works on for ever."""

from __future__ import annotations

import signal

import kit

VARIANT = 0


def attack(out: str) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    while True:
        pass


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
