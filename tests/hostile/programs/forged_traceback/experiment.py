"""Prints a traceback that lays the blame on the machine, to be given its run back."""

from __future__ import annotations

import sys

import kit

VARIANT = 0


def attack(out: str) -> None:
    print(
        'Traceback (most recent call last):\n  File "/usr/lib/x.py", line 1, in <module>\n'
        "OSError: [Errno 28] No space left on device",
        file=sys.stderr,
    )
    raise ValueError("the real one")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
