"""Files whose names are options, have line ends, control characters and no UTF-8."""

from __future__ import annotations

import os
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    for name in (
        b"--help",
        b"-rf",
        b"a\nb",
        b"\xff\xfe",
        b"\x1b[2J",
        b"$(touch x)",
        b"`id`",
        b" ",
        b"..x",
        b"x" * 255,
        b"'\";",
        b"\\",
    ):
        with kit.step(repr(name)):
            Path(os.fsdecode(os.path.join(out.encode(), name))).write_text("odd")
            os.makedirs(os.path.join(out.encode(), b"d" + name[:200]))


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
