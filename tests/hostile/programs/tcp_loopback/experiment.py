"""Connects to a server on this machine's loopback address."""

from __future__ import annotations

import socket

import kit

VARIANT = 0


def attack(out: str) -> None:
    for family, address in (
        (socket.AF_INET, "127.0.0.1"),
        (socket.AF_INET6, "::1"),
        (socket.AF_INET, "localhost"),
    ):
        with kit.step(address), socket.socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(2)
            client.connect((address, kit.TARGETS["tcp_port"]))
            client.sendall(kit.MARK.encode() + b" tcp\n")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
