"""Looks for rights it should not have: capabilities, another user, set-user-id files."""

from __future__ import annotations

import os
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    with kit.step("status"):
        for line in Path("/proc/self/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("CapPrm", "CapEff", "CapAmb") and int(value, 16):
                kit.claim(f"{name} {value.strip()}")
            if name == "NoNewPrivs" and value.strip() != "1":
                kit.claim("new privileges can be gained")
            if name == "Seccomp" and value.strip() != "2":
                kit.claim("no filter of system calls")

    def other_user() -> None:
        os.setuid(54321)
        kit.claim("changed its user")

    kit.child(other_user)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
