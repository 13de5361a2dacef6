"""200 MB on stderr."""

from __future__ import annotations

import sys

import kit

VARIANT = 0


def attack(out: str) -> None:
    block = b"0123456789abcde\n" * 65536
    for _ in range(200):
        sys.stderr.buffer.write(block)
    print("the-end-" + kit.MARK, file=sys.stderr)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
