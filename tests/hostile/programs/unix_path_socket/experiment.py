"""Connects to a server's socket by its path."""

from __future__ import annotations

import socket

import kit

VARIANT = 0


def attack(out: str) -> None:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with kit.step(str(kind)), socket.socket(socket.AF_UNIX, kind) as client:
            client.connect(
                kit.TARGETS["unix_stream" if kind == socket.SOCK_STREAM else "unix_datagram"]
            )
            client.send(kit.MARK.encode() + b" unix")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
