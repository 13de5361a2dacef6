"""The main process dies of SIGKILL while its child goes on: the child must go, too."""

from __future__ import annotations

import os
import signal

import kit

VARIANT = 0


def attack(out: str) -> None:
    if os.fork() == 0:
        kit.linger()
    os.kill(os.getpid(), signal.SIGKILL)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
