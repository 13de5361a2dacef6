"""Makes a hard link to a secret among its results."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    for number, path in enumerate(kit.TARGETS["secret_files"]):
        with kit.step(path):
            os.link(path, os.path.join(out, f"notes-{number}.txt"))


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
