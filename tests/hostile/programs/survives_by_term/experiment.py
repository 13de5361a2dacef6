"""On SIGTERM, its children multiply: each starts a daemon."""

from __future__ import annotations

import signal

import kit

VARIANT = 0


def attack(out: str) -> None:
    def multiply(*_: object) -> None:
        if kit.detach():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            kit.linger()

    signal.signal(signal.SIGTERM, multiply)
    while True:
        signal.pause()


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
