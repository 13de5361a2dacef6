"""Waits for a child that waits for it."""

from __future__ import annotations

import subprocess
import sys

import kit

VARIANT = 0


def attack(out: str) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()", kit.MARK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    child.wait()


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
