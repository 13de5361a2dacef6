"""Both streams at once, from threads, in step."""

from __future__ import annotations

import os
import threading

import kit

VARIANT = 0


def attack(out: str) -> None:
    def write(fd: int) -> None:
        for _ in range(40):
            os.write(fd, b"y" * (1 << 20))

    threads = [threading.Thread(target=write, args=(fd,)) for fd in (1, 2, 1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
