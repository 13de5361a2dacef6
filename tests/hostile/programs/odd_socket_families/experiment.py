"""Opens sockets that no network namespace closes: the hypervisor's, the kernel's ciphers, raw packets."""

from __future__ import annotations

import functools
import socket

import kit

VARIANT = 0


def attack(out: str) -> None:
    def family(name: str, number: int, kind: int, protocol: int) -> None:
        with kit.step(name):
            socket.socket(number, kind, protocol).close()
            kit.claim(name)

    for name, number, kind, protocol in (
        ("AF_VSOCK", 40, 1, 0),
        ("AF_ALG", 38, 5, 0),
        ("AF_PACKET", 17, 3, 768),
        ("AF_INET raw", 2, 3, 1),
        ("AF_BLUETOOTH", 31, 3, 1),
        ("AF_XDP", 44, 3, 0),
        ("AF_CAN", 29, 3, 1),
        ("AF_KEY", 15, 3, 2),
        ("AF_TIPC", 30, 1, 0),
        ("AF_RDS", 21, 5, 0),
    ):
        kit.child(functools.partial(family, name, number, kind, protocol))


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
