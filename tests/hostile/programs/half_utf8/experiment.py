"""Half of a character at the end of both streams, and between two writes."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    for fd in (1, 2):
        os.write(fd, b"\xf0\x9f")
        os.write(fd, b"\x98\x80\xe2\x82")
    os._exit(6)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
