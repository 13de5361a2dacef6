"""300 MB in its run folder, against a limit of 20 MB."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    with open(os.path.join(out, "big.bin"), "wb") as file:
        for _ in range(300):
            file.write(b"d" * (1 << 20))
            file.flush()
    kit.linger(5)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
