"""Makes files in the interpreter's folders: a .pth there would run in each later process."""

from __future__ import annotations

import os
import site
import sys

import kit

VARIANT = 0


def attack(out: str) -> None:
    folders = [
        *site.getsitepackages(),
        sys.prefix,
        sys.prefix + "/bin",
        sys.base_prefix + "/lib",
        os.path.dirname(os.__file__),
    ]
    for folder in folders:
        with kit.step(folder), open(f"{folder}/{kit.NAME}.pth", "w") as file:
            file.write("# " + kit.SCRIBBLE + "\n")
    with kit.step("the hook's folder"):
        for folder in os.environ.get("PYTHONPATH", "").split(":"):
            kit.scribble(f"{folder}/{kit.NAME}.pth")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
