"""60,000 metrics with long names: the answer must stay readable."""

from __future__ import annotations

import json
import os
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    Path(out, "final_info.json").write_bytes(
        json.dumps(
            {"metrics": {f"metric-{i}-" + "m" * 100: float(i) for i in range(60000)}}
        ).encode()
    )
    os._exit(0)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
