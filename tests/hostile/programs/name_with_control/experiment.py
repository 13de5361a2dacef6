"""Fails with an exception of 20 MB, control characters in its text and its type's name."""

from __future__ import annotations

import kit

VARIANT = 0


def attack(out: str) -> None:
    kind = type("Err\x1b[31m\nuser: hello", (Exception,), {})
    raise kind("\x1b[2J\x00\x07\u202e" + "x" * 20_000_000)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
