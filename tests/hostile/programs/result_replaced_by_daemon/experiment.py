"""A daemon goes on replacing the honest result by another one."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    kit.finish(out, 1)
    if kit.detach():
        null = os.open("/dev/null", os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        signal.alarm(20)
        score = 2.0
        while True:
            score = 777.0 if score == 2.0 else 2.0
            Path(out, "new.json").write_text(json.dumps({"metrics": {"score": score}}))
            os.replace(os.path.join(out, "new.json"), os.path.join(out, "final_info.json"))

    os._exit(0)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
