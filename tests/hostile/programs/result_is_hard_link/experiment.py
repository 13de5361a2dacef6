"""final_info.json is a hard link to a valid one outside."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    with kit.step("link"):
        os.link(
            os.path.join(kit.TARGETS["planted"], "final_info.json"),
            os.path.join(out, "final_info.json"),
        )

    os._exit(0)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
