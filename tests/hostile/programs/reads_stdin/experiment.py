"""Reads its stdin to the end: there must be one."""

from __future__ import annotations

import sys

import kit

VARIANT = 0


def attack(out: str) -> None:
    if sys.stdin.read():
        kit.claim("something was on stdin")
    with kit.step("input"):
        input()


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
