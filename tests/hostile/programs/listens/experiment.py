"""Listens on all addresses, for somebody outside to come in."""

from __future__ import annotations

import os
import socket

import kit

VARIANT = 0


def attack(out: str) -> None:
    with kit.step("listen"):
        server = socket.socket()
        server.bind(("0.0.0.0", 0))
        server.listen()
        kit.claim("listened") if kit.TARGETS["host_net"] == os.readlink(
            "/proc/self/ns/net"
        ) else None


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
