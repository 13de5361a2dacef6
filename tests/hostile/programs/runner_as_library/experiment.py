"""Uses the runner itself, from inside: shows another idea, starts one, measures a run."""

from __future__ import annotations

import subprocess
import sys

import kit

VARIANT = 0


def attack(out: str) -> None:
    for words in (
        ["show", "victim", "--json"],
        ["messages", "victim", "--json"],
        ["idea", "new", "--title", kit.NAME],
    ):
        with kit.step(" ".join(words)):
            done = subprocess.run(
                [sys.executable, "-m", "agent_runner", *words, "--home", kit.TARGETS["home"]],
                capture_output=True,
                timeout=20,
            )
            kit.loot(done.stdout)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
