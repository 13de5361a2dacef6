"""Reads the ledger's file."""

from __future__ import annotations

from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    for path in Path(kit.TARGETS["home"]).glob("ledger*"):
        with kit.step(str(path)):
            if path.read_bytes()[:6] == b"SQLite":
                kit.claim("the ledger was read")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
