"""Pipes, sockets and links in circles among its results."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    os.mkfifo(os.path.join(out, "pipe"))
    os.symlink("loop", os.path.join(out, "loop"))
    os.symlink("..", os.path.join(out, "up"))
    os.symlink("/", os.path.join(out, "root"))
    os.symlink("/dev/zero", os.path.join(out, "zero.json"))
    os.symlink("/dev/zero", os.path.join(out, "metrics.json"))


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
