"""Removes all it can reach in its folders and in the runner's."""

from __future__ import annotations

import os
import shutil

import kit

VARIANT = 0


def attack(out: str) -> None:
    for path in (
        ".",
        os.environ["AGENT_RUNNER_RECORD_DIR"],
        kit.TARGETS["outside"],
        kit.TARGETS["template"],
        kit.TARGETS["home"] + "/ideas/victim",
        kit.TARGETS["home"] + "/worktrees/victim",
    ):
        shutil.rmtree(path, ignore_errors=True)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
os.makedirs(out_dir, exist_ok=True)
kit.finish(out_dir, VARIANT)
