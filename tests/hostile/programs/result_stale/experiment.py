"""A result that says it was written in 2001."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    kit.finish(out, 1)
    os.utime(os.path.join(out, "final_info.json"), (1e9, 1e9))

    os._exit(0)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
