"""Remounts everything read-only as writable and tries to write there."""

from __future__ import annotations

import os
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    def remount() -> None:
        if os.readlink("/proc/self/ns/mnt") == kit.TARGETS["host_mnt"]:
            return  # these are the mounts of the machine itself: `mount_outside` is for that case
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            place, options = line.split()[4:6]
            if "ro" not in options.split(","):
                continue
            with kit.step(f"remount {place}"):  # a bind mount's own flag, never the file system's
                kit.checked(kit.libc.mount(None, place.encode(), None, 32 | 4096, None))
                kit.claim(f"remounted {place}")
        kit.scribble(f"/usr/{kit.NAME}")
        with kit.step("unmount"):
            kit.checked(kit.libc.umount2(b"/usr", 2))
            kit.claim("unmounted /usr")

    kit.child(remount)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
