"""final_info.json is a device that never ends."""

from __future__ import annotations

import os
import stat

import kit

VARIANT = 0


def attack(out: str) -> None:
    with kit.step("mknod"):
        os.mknod(os.path.join(out, "final_info.json"), stat.S_IFCHR | 0o666, os.makedev(1, 5))

    os._exit(0)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
