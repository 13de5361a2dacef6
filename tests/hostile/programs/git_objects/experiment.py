"""Reads the shared git repository's objects: all ideas' code is in them."""

from __future__ import annotations

import zlib
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    roots = [kit.TARGETS["home"] + "/repo.git"]
    with kit.step(".git"):
        roots.append(Path(".git").read_text().split(":", 1)[1].strip() + "/../..")
    for root in roots:
        for path in kit.everything_under(root):
            with kit.step(str(path)):
                data = path.read_bytes()
                if len(path.name) == 38:
                    data = zlib.decompress(data)
                if b"hs-" in data:
                    kit.loot(data)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
