"""Writes into the folder that its template was made from."""

from __future__ import annotations

from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    template = Path(kit.TARGETS["template"])
    for name in ("experiment.py", "kit.py", "targets.json", kit.NAME):
        kit.scribble(template / name)
    with kit.step("remove"):
        (template / "targets.json").unlink()


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
