"""200 MB on stdout."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def whole(fd: int, data: bytes) -> None:
    """Write all of it: a pipe may take less at once."""
    while data:
        data = data[os.write(fd, data) :]


def attack(out: str) -> None:
    block = b"0123456789abcde\n" * 65536
    for _ in range(200):
        whole(1, block)
    whole(1, f"the-end-{kit.MARK}\n".encode())


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
