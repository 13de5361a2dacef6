"""Objects that no ref reaches. What a ref reaches is evidence, and never collected."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from agent_runner.worktrees.store import Store


@dataclass(frozen=True)
class Unreachable:
    """Objects that nothing refers to, and the bytes they take on disk."""

    objects: int
    bytes: int


def prune(store: Store, lock: int, *, grace_s: float, dry_run: bool) -> Unreachable:
    """Remove loose objects that no ref reaches and that are older than the grace time.

    An object of a commit that is just being made has no ref yet: the grace time keeps it.
    """
    expire = f"--expire=@{int(time.time() - grace_s)}"
    listing = store.git.write(lock, "prune", "--dry-run", expire).decode()
    names = [line.split()[0] for line in listing.splitlines()]
    size = 0
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            size += (store.git_dir / "objects" / name[:2] / name[2:]).stat().st_size
    if names and not dry_run:
        store.git.write(lock, "prune", expire)
    return Unreachable(len(names), size)
