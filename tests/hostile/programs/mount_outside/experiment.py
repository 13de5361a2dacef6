"""Mounts a file system over a folder outside, and binds one there."""

from __future__ import annotations

import kit

VARIANT = 0


def attack(out: str) -> None:
    def mount() -> None:
        for kind, flags in ((b"tmpfs", 0), (None, 4096)):
            with kit.step(f"mount {kind!r}"):
                source = b"/etc" if kind is None else b"none"
                kit.checked(
                    kit.libc.mount(source, kit.TARGETS["mountpoint"].encode(), kind, flags, None)
                )
                kit.claim("mount")

    kit.child(mount)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
