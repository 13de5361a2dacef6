"""60 MB in one line without an end."""

from __future__ import annotations

import sys

import kit

VARIANT = 0


def attack(out: str) -> None:
    for _ in range(60):
        sys.stdout.buffer.write(b"x" * (1 << 20))


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
