"""300 MB in 300 files of 1 MB, against a limit of 20 MB."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    for number in range(300):
        with open(os.path.join(out, f"part-{number}"), "wb") as file:
            file.write(b"d" * (1 << 20))
    kit.linger(5)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
