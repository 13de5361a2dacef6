"""Changes mode, owner, times and attributes of files outside."""

from __future__ import annotations

import os
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    canary = Path(kit.TARGETS["outside"], "canary.txt")
    with kit.step("chmod"):
        canary.chmod(0o666)
    with kit.step("chown"):
        os.chown(canary, 12345, 12345)
    with kit.step("utime"):
        os.utime(canary, (1, 1))
    with kit.step("setxattr"):
        os.setxattr(canary, b"user.hostile", kit.SCRIBBLE.encode())
    with kit.step("chmod of the folder"):
        canary.parent.chmod(0o777)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
