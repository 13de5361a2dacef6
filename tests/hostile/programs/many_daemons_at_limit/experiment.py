"""50 daemons at the time limit, each ignoring SIGTERM."""

from __future__ import annotations

import signal

import kit

VARIANT = 0


def attack(out: str) -> None:
    for _ in range(50):
        if kit.detach():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            kit.linger()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
