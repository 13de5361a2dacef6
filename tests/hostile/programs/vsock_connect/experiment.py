"""Talks to the hypervisor and to this machine over AF_VSOCK."""

from __future__ import annotations

import socket

import kit

VARIANT = 0


def attack(out: str) -> None:
    for cid in (1, 2):
        with kit.step(str(cid)), socket.socket(40, socket.SOCK_STREAM) as client:
            client.settimeout(1)
            client.connect((cid, kit.TARGETS["vsock_port"]))
            client.send(kit.MARK.encode() + b" vsock")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
