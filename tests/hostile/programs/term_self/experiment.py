"""Ends itself by SIGTERM."""

from __future__ import annotations

import os
import signal

import kit

VARIANT = 0


def attack(out: str) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
