"""600 MB in six processes, each below the limit of 200 MB."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    children = []
    for _ in range(6):
        pid = os.fork()
        if pid == 0:
            hoard = bytearray(b"m") * (100 << 20)
            kit.linger(6 if hoard else 0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
