"""Finds the server's stand-in by a scan of all processes, stops it and kills it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    victims = {kit.TARGETS["canary_pid"]}
    for pid in kit.pids():
        with kit.step(f"cmdline of {pid}"):
            if kit.TARGETS["canary_name"].encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                victims.add(pid)
    for pid in victims:
        for number in (signal.SIGSTOP, signal.SIGKILL):
            with kit.step(f"signal {number} to {pid}"):
                os.kill(pid, number)
        with kit.step("pidfd"):
            signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGKILL)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
