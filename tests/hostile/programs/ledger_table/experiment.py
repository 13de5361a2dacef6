"""Opens the ledger and writes into it: a table of its own, and its budget back."""

from __future__ import annotations

import glob
import os
import sqlite3

import kit

VARIANT = 0


def attack(out: str) -> None:
    for path in glob.glob(kit.TARGETS["home"] + "/ledger*sqlite*"):
        with kit.step(path), sqlite3.connect(path, timeout=2) as ledger:
            ledger.execute("create table hostile_mark (x)")
    for path in glob.glob(kit.TARGETS["home"] + "/ledger*"):
        with kit.step(f"lock {path}"):
            os.close(os.open(path, os.O_RDWR))
            kit.claim("the ledger was opened for writing")


out_dir = kit.begin()
if VARIANT == 1:
    attack(out_dir)
kit.finish(out_dir, VARIANT)
