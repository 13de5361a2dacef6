"""Makes files that nobody can remove or change."""

from __future__ import annotations

import array
import fcntl
import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    path = os.path.join(out, "fixed")
    fd = os.open(path, os.O_CREAT | os.O_RDONLY, 0o600)
    with kit.step("chattr +i"):
        flags = array.array("i", [0])
        fcntl.ioctl(fd, 0x80086601, flags)
        flags[0] |= 0x10
        fcntl.ioctl(fd, 0x40086602, flags)
        kit.claim("made an immutable file")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
