"""Reads address 0."""

from __future__ import annotations

import ctypes

import kit

VARIANT = 0


def attack(out: str) -> None:
    ctypes.string_at(0)


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
