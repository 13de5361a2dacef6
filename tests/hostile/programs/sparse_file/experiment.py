"""A file of 1 TB that takes no room: copying it would."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    with kit.step("sparse"), open(os.path.join(out, "sparse.bin"), "wb") as file:
        file.truncate(1 << 40)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
