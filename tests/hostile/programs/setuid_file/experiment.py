"""Leaves a program among its results that gives whoever starts it its owner's rights."""

from __future__ import annotations

import os
import shutil

import kit

VARIANT = 0


def attack(out: str) -> None:
    for name in ("tool", "folder/tool"):
        with kit.step(name):
            path = os.path.join(out, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            shutil.copyfile("/bin/true", path)
            os.chmod(path, 0o6755)
    with kit.step("capabilities"):
        os.setxattr(
            os.path.join(out, "tool"),
            "security.capability",
            bytes.fromhex("0100000202000000000000000000000000000000"),
        )


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
