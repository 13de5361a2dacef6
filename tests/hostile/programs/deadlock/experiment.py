"""Two threads wait for each other."""

from __future__ import annotations

import threading

import kit

VARIANT = 0


def attack(out: str) -> None:
    first, second = threading.Lock(), threading.Lock()
    both = threading.Barrier(2)

    def take(one: threading.Lock, other: threading.Lock) -> None:
        with one:
            both.wait()
            other.acquire()

    thread = threading.Thread(target=take, args=(second, first))
    thread.start()
    take(first, second)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
