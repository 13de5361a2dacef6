"""Connects to a server's socket in the abstract name space."""

from __future__ import annotations

import socket

import kit

VARIANT = 0


def attack(out: str) -> None:
    with kit.step("stream"), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect("\0" + kit.TARGETS["abstract"])
        client.send(kit.MARK.encode() + b" abstract")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
