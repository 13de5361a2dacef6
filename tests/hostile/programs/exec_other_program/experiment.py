"""Becomes another program, which writes the result and ends well."""

from __future__ import annotations

import os
import sys

import kit

VARIANT = 0


def attack(out: str) -> None:
    sys.stdout.flush()
    os.execv(
        "/bin/sh", ["sh", "-c", f'echo \'{{"metrics": {{"score": 2.0}}}}\' > {out}/final_info.json']
    )


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
