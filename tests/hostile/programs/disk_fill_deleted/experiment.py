"""100 MB in a file that has no name any more, against a limit of 20 MB."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    with open(os.path.join(out, "gone"), "wb") as file:
        os.unlink(file.name)
        with kit.step("fill"):
            for _ in range(100):
                file.write(b"d" * (1 << 20))


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
