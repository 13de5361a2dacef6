"""Changes experiment.py and the locked harness, and leaves modules that the next run would import."""

from __future__ import annotations

import os
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    for name in ("experiment.py", "kit.py", "targets.json", __file__):
        kit.scribble(name)
    for name in (
        "json.py",
        "sitecustomize.py",
        "usercustomize.py",
        "conftest.py",
        "site-packages/x.pth",
    ):
        with kit.step(f"make {name}"):
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).write_text(f"# {kit.NAME}\n")
    with kit.step("replace kit.py"):
        Path(out, "k.py").write_text(Path("kit.py").read_text() + "# " + kit.NAME + "\n")
        os.replace(os.path.join(out, "k.py"), "kit.py")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
