"""Attaches to another process as a debugger, and writes into its memory."""

from __future__ import annotations

import ctypes
import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    pid = kit.TARGETS["canary_pid"]

    def attach() -> None:
        kit.checked(kit.libc.ptrace(16, pid, None, None))
        os.waitpid(pid, 0x40000000)
        with kit.step("poke"):
            word = ctypes.c_long(int.from_bytes(b"HOSTILE!", "little"))
            kit.checked(
                kit.libc.ptrace(4, pid, ctypes.c_void_p(kit.TARGETS["canary_address"]), word)
            )
        kit.libc.ptrace(17, pid, None, None)

    kit.child(attach)

    def memory() -> None:
        with open(f"/proc/{pid}/mem", "r+b", buffering=0) as file:
            file.seek(kit.TARGETS["canary_address"])
            file.write(b"HOSTILE!")

    kit.child(memory)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
