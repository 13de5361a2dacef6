"""final_info.json without any rights, in a folder without any."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    kit.finish(out, 1)
    os.chmod(os.path.join(out, "final_info.json"), 0)
    os.chmod(out, 0)

    os._exit(0)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
