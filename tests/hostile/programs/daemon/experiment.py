"""A daemon by the book stays behind: double fork, own session, no open pipes."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    if kit.detach():
        null = os.open("/dev/null", os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        kit.linger()


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
