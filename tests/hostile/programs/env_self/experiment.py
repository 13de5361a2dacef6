"""Reads its own environment, three ways."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    with kit.step("os.environ"):
        kit.loot(json.dumps(dict(os.environ)))
    with kit.step("/proc/self/environ"):
        kit.loot(Path("/proc/self/environ").read_bytes())
    with kit.step("the environment of a child"):
        kit.loot(subprocess.run(["/usr/bin/env"], capture_output=True, check=True).stdout)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
