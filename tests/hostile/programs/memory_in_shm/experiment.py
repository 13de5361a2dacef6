"""400 MB in files of /dev/shm and /tmp, against a limit of 200 MB."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    names = []
    for folder in ("/dev/shm", "/tmp"):
        path = f"{folder}/{kit.NAME}"
        names.append(path)
        with kit.step(path), open(path, "wb") as file:
            for _ in range(200):
                file.write(b"m" * (1 << 20))
    for path in names:
        with kit.step(path):
            os.unlink(path)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
