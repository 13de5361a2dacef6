"""Raises its own limits beyond what it was given, and its priority."""

from __future__ import annotations

import os
import resource

import kit

VARIANT = 0


def attack(out: str) -> None:
    for name in ("NOFILE", "FSIZE", "NPROC", "CORE", "MEMLOCK", "RTPRIO", "NICE", "MSGQUEUE"):
        with kit.step(name):
            which = getattr(resource, f"RLIMIT_{name}")
            hard = resource.getrlimit(which)[1]
            if hard != resource.RLIM_INFINITY:
                resource.setrlimit(which, (hard + 1, hard + 1))
                kit.claim(f"raised {name}")
    with kit.step("nice"):
        os.nice(-5)
        kit.claim("raised its priority")
    with kit.step("real time"):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        kit.claim("real-time scheduling")
    with kit.step("out of memory score"):
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("-1000")
        kit.claim("out of the reach of the memory killer")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
