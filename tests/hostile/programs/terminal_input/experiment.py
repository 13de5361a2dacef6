"""Pushes keys into the terminal of whoever started the runner."""

from __future__ import annotations

import fcntl
import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    for path in ("/dev/tty", "/dev/console", "/dev/tty0", "/dev/pts/0"):
        with kit.step(path):
            fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
            kit.claim(f"{path} can be written")
            os.close(fd)
    for number in (0, 1, 2):
        with kit.step(f"TIOCLINUX {number}"):
            fcntl.ioctl(number, 0x541C, b"\x0a")
            kit.claim("TIOCLINUX")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
