"""Sends a datagram to this machine, and a question for a name server."""

from __future__ import annotations

import socket

import kit

VARIANT = 0


def attack(out: str) -> None:
    question = (
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
        + bytes([len(kit.MARK)])
        + kit.MARK.encode()
        + b"\x00\x00\x01\x00\x01"
    )
    for data in (kit.MARK.encode() + b" udp", question):
        with kit.step("send"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(data, ("127.0.0.1", kit.TARGETS["udp_port"]))


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
