"""Forks as often as it may, at most 300 times, against a limit of 64."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    for _ in range(300):
        with kit.step("fork"):
            if os.fork() == 0:
                kit.linger()


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
