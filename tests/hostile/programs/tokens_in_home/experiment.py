"""Reads the tokens below the user's home folder, by absolute path and by ~."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    names = (".cache/huggingface/token", ".ssh/id_rsa", ".netrc", ".aws/credentials")
    homes = [kit.TARGETS["fake_home"], os.path.expanduser("~"), pwd.getpwuid(os.getuid()).pw_dir]
    for home in homes[:2]:
        for name in names:
            with kit.step(f"{home}/{name}"):
                kit.loot(Path(home, name).read_bytes())
    with kit.step("list the home"):
        kit.loot("\n".join(os.listdir(homes[0])))


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
