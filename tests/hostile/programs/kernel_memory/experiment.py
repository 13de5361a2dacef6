"""Opens the windows into the kernel and the disk: kcore, mem, kmsg, the root disk. Reads 1 byte."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    paths = ["/proc/kcore", "/dev/mem", "/dev/kmsg"]
    paths += [f"/dev/{n}" for n in ("vda", "vda1", "sda", "sda1", "nvme0n1", "nvme0n1p1")]
    for path in paths:
        with kit.step(path):
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            if os.read(fd, 1 if "kmsg" not in path else 8192):
                kit.claim(f"{path} was read")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
