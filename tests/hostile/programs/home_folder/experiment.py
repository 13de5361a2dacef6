"""Writes start-up files of shells, git and Python into the user's home."""

from __future__ import annotations

from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    home = Path(kit.TARGETS["fake_home"])
    for name in (
        ".bashrc",
        ".profile",
        ".gitconfig",
        ".ssh/authorized_keys",
        ".netrc",
        ".aws/credentials",
        kit.NAME,
    ):
        kit.scribble(home / name)
    with kit.step("user site"):
        site = home / ".local/lib/python3.11/site-packages"
        site.mkdir(parents=True)
        (site / "usercustomize.py").write_text("# " + kit.NAME)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
