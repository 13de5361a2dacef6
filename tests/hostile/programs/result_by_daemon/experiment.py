"""The result is written by a daemon, half a second after the main process has ended."""

from __future__ import annotations

import os
import select
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    first, second = os.pipe()
    if kit.detach():
        os.close(second)
        null = os.open("/dev/null", os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        os.read(first, 1)  # the end of the main process
        select.select([], [], [], 0.5)
        for _ in range(20000):
            with kit.step("write"):
                Path(out, "final_info.json").write_text('{"metrics": {"score": 777.0}}')
        kit.linger()

    os._exit(0)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
