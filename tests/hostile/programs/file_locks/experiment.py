"""Takes locks on all the runner's files it can open, and keeps them in a daemon."""

from __future__ import annotations

import fcntl
import glob
import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    if kit.detach():
        kept = []
        for path in [
            *glob.glob(kit.TARGETS["home"] + "/*lock*"),
            *glob.glob(kit.TARGETS["home"] + "/ledger*"),
        ]:
            with kit.step(path):
                file = os.open(path, os.O_RDONLY)
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                kit.claim(f"locked {path}")
                kept.append(file)
        if kept:
            kit.linger()
        os._exit(0)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
