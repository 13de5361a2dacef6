"""Kills its process group, with whoever else is in it."""

from __future__ import annotations

import os
import signal

import kit

VARIANT = 0


def attack(out: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    group = os.getpgrp()
    strangers = [
        p
        for p in kit.pids()
        if kit.group_and_name(p)[0] == group and kit.group_and_name(p)[1] != kit.MARK
    ]
    if (
        group and not strangers
    ):  # never the group of somebody else: on a bad day that is the test itself
        os.killpg(0, signal.SIGTERM)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
