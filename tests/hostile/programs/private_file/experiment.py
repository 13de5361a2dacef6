"""Reads a 0600 file beside the runner's home."""

from __future__ import annotations

import os
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    with kit.step("read"):
        kit.loot(Path(kit.TARGETS["private_file"]).read_bytes())
    with kit.step("through /proc/self/root"):
        kit.loot(Path("/proc/self/root" + kit.TARGETS["private_file"]).read_bytes())
    with kit.step("through /proc/1/root"):
        kit.loot(Path("/proc/1/root" + kit.TARGETS["private_file"]).read_bytes())
    with kit.step("through the parent's root"):
        kit.loot(Path(f"/proc/{os.getppid()}/root" + kit.TARGETS["private_file"]).read_bytes())


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
