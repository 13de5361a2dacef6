"""Opens what only root may read. Says so, and carries nothing off."""

from __future__ import annotations

import kit

VARIANT = 0


def attack(out: str) -> None:
    for path in ("/etc/shadow", "/etc/gshadow", "/etc/shadow-"):
        with kit.step(path), open(path, "rb") as file:
            if file.read(1):
                kit.claim(f"{path} was read")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
