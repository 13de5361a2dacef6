"""Escapes that clear screens, set titles and write backwards."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    for fd in (1, 2):
        os.write(
            fd, b"\x1b[2J\x1b]0;title\x07\x1b[31mred\x08\x08\x00\xe2\x80\xae backwards\r\n" * 2000
        )
    os._exit(4)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
