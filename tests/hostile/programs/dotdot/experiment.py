"""Writes beside its folders by relative paths, and into the runner's home."""

from __future__ import annotations

import kit

VARIANT = 0


def attack(out: str) -> None:
    for path in (
        "..",
        "../..",
        "../../..",
        f"{out}/../..",
        f"{out}/../../..",
        kit.TARGETS["home"],
        kit.TARGETS["home"] + "/worktrees",
        kit.TARGETS["home"] + "/ideas",
    ):
        kit.scribble(f"{path}/{kit.NAME}")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
