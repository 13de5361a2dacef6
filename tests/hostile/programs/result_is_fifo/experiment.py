"""final_info.json is a pipe: whoever opens it, waits."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    os.mkfifo(os.path.join(out, "final_info.json"))

    os._exit(0)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
