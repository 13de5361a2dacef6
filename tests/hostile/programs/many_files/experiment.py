"""20,000 empty files in its run folder."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    os.mkdir(os.path.join(out, "many"))
    for number in range(20000):
        os.close(os.open(os.path.join(out, "many", str(number)), os.O_CREAT | os.O_WRONLY))


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
