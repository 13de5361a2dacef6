"""An integer of 5,000 digits: Python's own conversion refuses it with a ValueError."""

from __future__ import annotations

import os
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    Path(out, "final_info.json").write_bytes(b'{"metrics": {"score": ' + b"9" * 5000 + b"}}")
    os._exit(0)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
