"""A daemon keeps stdout and stderr open after the main process ended: end of file never comes."""

from __future__ import annotations

import kit

VARIANT = 0


def attack(out: str) -> None:
    if kit.detach():
        kit.linger()


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
