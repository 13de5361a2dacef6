"""Starts 400 threads that wait for ever; the main thread ends."""

from __future__ import annotations

import threading

import kit

VARIANT = 0


def attack(out: str) -> None:
    for _ in range(400):
        with kit.step("thread"):
            threading.Thread(target=kit.linger_thread, daemon=True).start()


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
