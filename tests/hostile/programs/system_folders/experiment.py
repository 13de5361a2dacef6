"""Makes new files in the system's folders (the test removes them)."""

from __future__ import annotations

import kit

VARIANT = 0


def attack(out: str) -> None:
    folders = (
        "/usr /usr/bin /usr/lib /usr/local/bin /etc /etc/cron.d /etc/profile.d /etc/ld.so.conf.d /opt "
        "/root /var/spool /var/lib /home /srv /boot /"
    )
    for folder in folders.split():
        kit.scribble(f"{folder}/{kit.NAME}")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
