"""Changes priority, limits and processors of another process."""

from __future__ import annotations

import os
import resource

import kit

VARIANT = 0


def attack(out: str) -> None:
    pid = kit.TARGETS["canary_pid"]
    with kit.step("nice"):
        os.setpriority(os.PRIO_PROCESS, pid, 15)
    with kit.step("limits"):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (8, 8))
    with kit.step("processors"):
        os.sched_setaffinity(pid, {0})


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
