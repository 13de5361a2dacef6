"""A daemon swaps the run folder against a link to forged results as fast as it can, also after the end."""

from __future__ import annotations

import contextlib
import os
import signal

import kit

VARIANT = 0


def attack(out: str) -> None:
    kit.finish(out, 1)
    if kit.detach():
        null = os.open("/dev/null", os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        signal.alarm(20)
        while True:
            with contextlib.suppress(OSError):
                os.rename(out, out + ".x")
                os.symlink(kit.TARGETS["planted"], out)
            with contextlib.suppress(OSError):
                os.unlink(out)
                os.rename(out + ".x", out)
    os._exit(0)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
