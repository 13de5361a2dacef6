"""Asks whether it is the same user as the runner."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    if os.getuid() in (0, kit.TARGETS["server_uid"]) and kit.TARGETS["server_uid"] == 0:
        kit.claim("runs as root")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
