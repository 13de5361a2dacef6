"""Reads a known address of another process with process_vm_readv."""

from __future__ import annotations

import ctypes

import kit

VARIANT = 0


def attack(out: str) -> None:
    buffer = ctypes.create_string_buffer(64)
    local = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 64)
    remote = (ctypes.c_void_p * 2)(kit.TARGETS["canary_address"], 64)

    def peek() -> None:
        kit.syscall(310, 270, kit.TARGETS["canary_pid"], local, 1, remote, 1, 0)
        kit.loot(buffer.raw)

    kit.child(peek)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
