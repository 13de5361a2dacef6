"""Makes device nodes for the root disk and opens them; opens real ones for writing, writes nothing."""

from __future__ import annotations

import glob
import os
import stat

import kit

VARIANT = 0


def attack(out: str) -> None:
    def nodes() -> None:
        disk = os.stat("/").st_dev
        for name, kind, number in (
            ("disk", stat.S_IFBLK, disk),
            ("mem", stat.S_IFCHR, os.makedev(1, 1)),
            ("null", stat.S_IFCHR, os.makedev(1, 3)),
        ):
            for folder in (out, "/tmp", "/dev/shm", "."):
                with kit.step(f"{folder} {name}"):
                    path = os.path.join(folder, kit.NAME + name)
                    os.mknod(path, kind | 0o600, number)
                    try:
                        os.close(os.open(path, os.O_RDONLY))
                        kit.claim(f"device {name} opened in {folder}")
                    finally:
                        os.unlink(path)
        for path in (
            glob.glob("/dev/[vs]d[a-z]*")
            + glob.glob("/dev/nvme*")
            + ["/dev/mem", "/dev/kvm", "/dev/fuse", "/dev/net/tun", "/dev/loop-control"]
        ):
            with kit.step(path):
                os.close(os.open(path, os.O_RDWR))
                kit.claim(f"{path} can be written")

    kit.child(nodes)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
