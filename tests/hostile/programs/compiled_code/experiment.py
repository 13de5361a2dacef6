"""Plants a compiled kit in __pycache__ that the next run would load instead of the locked source."""

from __future__ import annotations

import importlib.util
import marshal
import struct
from pathlib import Path

import kit

VARIANT = 0


def attack(out: str) -> None:
    source = Path("kit.py").resolve()
    with kit.step("plant"):
        code = compile(source.read_text() + "\nclaim('planted code ran')\n", str(source), "exec")
        stat = source.stat()
        head = importlib.util.MAGIC_NUMBER + struct.pack(
            "<III", 0, int(stat.st_mtime), stat.st_size
        )
        cache = Path(importlib.util.cache_from_source(str(source)))
        cache.parent.mkdir(exist_ok=True)
        cache.write_bytes(head + marshal.dumps(code))


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
