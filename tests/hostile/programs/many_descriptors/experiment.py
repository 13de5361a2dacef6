"""Opens files until it may not, at most 20,000."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    kept = []
    with kit.step("open"):
        for _ in range(20000):
            kept.append(os.open("/dev/null", os.O_RDONLY))
        kit.claim("20,000 open files")
    for fd in kept:
        os.close(fd)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
