"""On SIGTERM at its time limit it writes a fine result and exits with 0: still a timeout."""

from __future__ import annotations

import os
import signal

import kit

VARIANT = 0


def attack(out: str) -> None:
    def late(*_: object) -> None:
        kit.finish(out, 1)
        os._exit(0)

    signal.signal(signal.SIGTERM, late)
    while True:
        signal.pause()


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
