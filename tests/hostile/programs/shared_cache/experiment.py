"""Changes the shared cache of inputs and adds to it."""

from __future__ import annotations

import os

import kit

VARIANT = 0


def attack(out: str) -> None:
    for folder in {
        os.environ.get("AGENT_RUNNER_CACHE", "/nowhere"),
        kit.TARGETS["home"] + "/cache",
    }:
        kit.scribble(f"{folder}/canary.bin")
        kit.scribble(f"{folder}/{kit.NAME}")
        with kit.step(f"rename in {folder}"):
            os.rename(f"{folder}/canary.bin", f"{folder}/{kit.NAME}.bin")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
