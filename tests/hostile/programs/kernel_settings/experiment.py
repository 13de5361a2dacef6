"""Opens the kernel's switches for writing, and writes nothing."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    paths = (
        "/proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/sys/vm/drop_caches "
        "/proc/sys/kernel/hostname /proc/sys/kernel/modprobe /sys/kernel/uevent_helper /sys/power/state "
        "/proc/self/../1/oom_score_adj /sys/fs/cgroup/release_agent /sys/fs/cgroup/memory/release_agent "
        "/sys/fs/cgroup/pids/release_agent"
    )
    for path in paths.split():
        with kit.step(path):
            os.close(os.open(path, os.O_WRONLY))
            kit.claim(f"{path} can be written")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
