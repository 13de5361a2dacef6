"""final_info.json has a size of 1 TB and no content."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    with kit.step("sparse"), open(os.path.join(out, "final_info.json"), "wb") as file:
        file.truncate(1 << 40)

    os._exit(0)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
