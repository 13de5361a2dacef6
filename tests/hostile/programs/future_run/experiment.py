"""Makes the folder of its next run, with forged results and a link in it; the next run writes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    for name in ("run_2", "run_3"):
        with kit.step(name):
            os.mkdir(name)
            Path(name, "final_info.json").write_text('{"metrics": {"score": 777.0}}')
            Path(name, kit.NAME).symlink_to(kit.TARGETS["outside"])


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
if VARIANT < 2:
    kit.finish(out_dir, VARIANT)
