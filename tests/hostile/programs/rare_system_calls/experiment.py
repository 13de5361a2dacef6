"""Tries calls that no experiment needs and that have opened many a sandbox."""

from __future__ import annotations

import ctypes
import functools

import kit

VARIANT = 0


def attack(out: str) -> None:
    KINDS = {
        "io_uring_setup": (425, 425, 8, ctypes.create_string_buffer(256)),
        "perf_event_open": (
            298,
            241,
            ctypes.create_string_buffer(b"\1\0\0\0\x70" + b"\0" * 123),
            0,
            -1,
            -1,
            0,
        ),
        "userfaultfd": (323, 282, 0),
        "bpf": (
            321,
            280,
            0,
            ctypes.create_string_buffer(b"\2\0\0\0\4\0\0\0\4\0\0\0\1\0\0\0" + b"\0" * 100),
            72,
        ),
        "add_key": (248, 217, b"user", b"hostile", b"x", 1, -2),
        "fanotify_init": (300, 262, 0, 0),
        "iopl": (172, 999, 3),
    }

    def call(name: str) -> None:
        x86, other, *values = KINDS[name]
        kit.syscall(x86, other, *values)
        kit.claim(name)

    for name in KINDS:
        kit.child(functools.partial(call, name))


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
