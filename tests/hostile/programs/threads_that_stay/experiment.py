"""A thread that is no daemon keeps the process alive after the result: the time limit ends it."""

from __future__ import annotations

import threading

import kit

VARIANT = 0


def attack(out: str) -> None:
    threading.Thread(target=threading.Event().wait).start()


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
