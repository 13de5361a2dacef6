"""64 MB of valid JSON, beyond the documented 16 MB."""

from __future__ import annotations

import os
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    Path(out, "final_info.json").write_bytes(
        b'{"metrics": {"score": 1.0}, "x": "' + b"x" * (64 << 20) + b'"}'
    )
    os._exit(0)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
