"""Writes into records, history and worktree of another idea."""

from __future__ import annotations

import kit

VARIANT = 0


def attack(out: str) -> None:
    home = kit.TARGETS["home"]
    for root in (f"{home}/ideas/victim", f"{home}/worktrees/victim", "../victim"):
        for path in list(kit.everything_under(root)):
            kit.scribble(path)
        kit.scribble(f"{root}/{kit.NAME}")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
