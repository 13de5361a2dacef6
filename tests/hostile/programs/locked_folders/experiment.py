"""Folders without any rights among its results."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    for name in ("a", "b", "c"):
        folder = os.path.join(out, name)
        os.makedirs(os.path.join(folder, "inner"))
        kit.scribble(os.path.join(folder, "inner", "file"))
        os.chmod(os.path.join(folder, "inner"), 0)
        os.chmod(folder, 0o100)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
