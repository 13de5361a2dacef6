"""final_info.json is a socket."""

from __future__ import annotations

import os
import socket

import kit

VARIANT = 0


def attack(out: str) -> None:
    os.chdir(out)
    socket.socket(socket.AF_UNIX).bind("final_info.json")

    os._exit(0)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
