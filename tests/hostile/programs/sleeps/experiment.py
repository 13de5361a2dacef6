"""Waits for ever."""

from __future__ import annotations

import signal

import kit

VARIANT = 0


def attack(out: str) -> None:
    signal.pause()


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
