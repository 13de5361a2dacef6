"""Enters the namespaces of other processes and reads there."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    def enter() -> None:
        for pid in {kit.TARGETS["canary_pid"], os.getppid()}:
            for kind in ("user", "mnt", "pid", "net"):
                with kit.step(f"{kind} of {pid}"):
                    fd = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
                    kit.checked(kit.libc.setns(fd, 0))
                    kit.claim(f"setns {kind}")
        with kit.step("pidfd"):
            fd = os.pidfd_open(kit.TARGETS["canary_pid"])
            kit.checked(kit.libc.setns(fd, 0x00020000 | 0x40000000))
            kit.claim("setns by pidfd")

    kit.child(enter)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
