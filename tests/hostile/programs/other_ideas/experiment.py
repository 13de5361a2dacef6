"""Reads records, history and worktree of another idea in the same home."""

from __future__ import annotations

import kit

VARIANT = 0


def attack(out: str) -> None:
    home = kit.TARGETS["home"]
    for root in (f"{home}/ideas/victim", f"{home}/worktrees/victim", "../victim"):
        for path in kit.everything_under(root):
            with kit.step(str(path)):
                kit.loot(path.read_bytes())


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
