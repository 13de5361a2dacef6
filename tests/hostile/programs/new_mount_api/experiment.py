"""Makes mounts by the new calls (fsopen, open_tree, move_mount, mount_setattr)."""

from __future__ import annotations

import kit

VARIANT = 0


def attack(out: str) -> None:
    def mounts() -> None:
        with kit.step("fsopen"):
            kit.syscall(430, 430, b"tmpfs", 0)
            kit.claim("fsopen")
        with kit.step("open_tree"):
            kit.syscall(428, 428, -100, b"/", 1)
            kit.claim("open_tree")
        with kit.step("mount_setattr"):
            kit.syscall(442, 442, -100, b"/usr", 0, b"\0" * 8 + b"\1" + b"\0" * 23, 32)
            kit.claim("mount_setattr")

    kit.child(mounts)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
