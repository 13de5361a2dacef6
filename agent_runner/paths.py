"""Every path below a home, and every atomic write. Nobody else spells a file name.

HOME/
  ledger.sqlite3              what may happen next (the authority on budget)
  repo.git/  repo.lock        templates, idea branches and run refs
  worktrees/<idea>/           the agent's files; runs make their `run_i` folders here
  sandbox.json                which levels of isolation work on this machine
  hub.json                    what the model hub has answered, for a while
  leases/                     who has which GPU or CPU slot, and who waits
  cache/                      shared inputs that do not depend on an edit; runs read them
  blobs/<sha256>              result files as they were read, by their digest
  quarantine/                 records that nobody knows
  baselines/<fingerprint>/    a baseline's record, shared by every idea it matches
  ideas/<idea>/
    idea.json  history.json  lock
    attempts/<n>/             attempt.json, reply.md, diff.patch, observation.json, preflight/, smoke/
    runs/<i>/                 job records (spec, started, exit, logs), final_info.json, result.json
    verifications/<n>/        a run again with other seeds: job records, verification.json
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old bytes or the new ones, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_directory(path.parent)


def write_json(path: Path, value: BaseModel | dict[str, Any] | list[Any]) -> None:
    """Write a record or plain JSON value atomically, UTF-8, indented for people."""
    if isinstance(value, BaseModel):
        text = value.model_dump_json(indent=2)
    else:
        text = json.dumps(value, indent=2, ensure_ascii=False)
    write_atomic(path, text.encode("utf-8") + b"\n")


def read_json(path: Path) -> Any:
    """Parse a JSON file of ours; None where there is none."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None


def read_text(path: Path) -> str:
    """Text of a log, undecodable bytes replaced; empty where there is no such file."""
    try:
        return path.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def read_strange(path: Path, limit: int) -> str:
    """Text of a file that a job may be writing: no link is followed, nothing but a regular file is read.

    At most `limit` bytes; empty where there is no such file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        data = os.read(descriptor, limit) if regular else b""
    finally:
        os.close(descriptor)
    return data.decode("utf-8", errors="replace")


def sync_tree(folder: Path) -> None:
    """Have everything below a folder on disk, and the folder itself known to the one above it."""
    for base, _, files in os.walk(folder):
        for name in files:
            path = Path(base, name)
            if path.is_symlink() or not path.is_file():
                continue
            with path.open("rb") as file:
                os.fsync(file.fileno())
        _sync_directory(Path(base))
    _sync_directory(folder.parent)


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive advisory lock; the kernel lets go of it when the holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        # Closing is not enough where a forked child has inherited the descriptor.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


@contextlib.contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Hold an exclusive advisory lock where it is free; False, and nothing held, where somebody has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        try:
            yield True
        finally:
            # Closing is not enough where a forked child has inherited the descriptor.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class JobPaths:
    """Records of one job (a run, or a check before it)."""

    folder: Path

    @property
    def stdout(self) -> Path:
        return self.folder / "stdout.log"

    @property
    def stderr(self) -> Path:
        return self.folder / "stderr.log"

    @property
    def turns(self) -> Path:
        """In which order the two streams spoke."""
        return self.folder / "turns.log"

    @property
    def started(self) -> Path:
        return self.folder / "started.json"

    @property
    def exit(self) -> Path:
        return self.folder / "exit.json"

    @property
    def exception(self) -> Path:
        return self.folder / "exception.json"

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def live_events(self) -> Path:
        """The events of a job that goes on, where it writes them itself."""
        return self.folder / "job" / "events.jsonl"

    @property
    def out(self) -> Path:
        """Where a check before a run writes its results."""
        return self.folder / "results" / "out"

    @property
    def stacks(self) -> Path:
        return self.folder / "faulthandler.log"

    @property
    def final_info(self) -> Path:
        return self.folder / "final_info.json"

    @property
    def result(self) -> Path:
        return self.folder / "result.json"


@dataclass(frozen=True)
class AttemptPaths:
    """Records of one attempt."""

    folder: Path

    @property
    def reply(self) -> Path:
        return self.folder / "reply.md"

    @property
    def diff(self) -> Path:
        return self.folder / "diff.patch"

    @property
    def request(self) -> Path:
        """What was asked for: the idempotency key and the digest of the reply."""
        return self.folder / "attempt.json"

    @property
    def observation(self) -> Path:
        return self.folder / "observation.json"

    @property
    def baseline(self) -> Path:
        """Which baseline its run is compared with, where that is not the idea's own: its fingerprint."""
        return self.folder / "baseline.json"

    @property
    def strays(self) -> Path:
        """Files that lay about in the worktree before this attempt."""
        return self.folder / "strays"

    def step(self, name: str) -> JobPaths:
        """Records of a check before the run: `preflight` or `smoke`."""
        return JobPaths(self.folder / name)


@dataclass(frozen=True)
class IdeaPaths:
    """Everything of one idea."""

    folder: Path
    worktree: Path

    @property
    def record(self) -> Path:
        return self.folder / "idea.json"

    @property
    def history(self) -> Path:
        return self.folder / "history.json"

    @property
    def lock(self) -> Path:
        return self.folder / "lock"

    @property
    def cancel(self) -> Path:
        """Asks whoever works on the idea to stop: the number of the attempt that is meant."""
        return self.folder / "cancel.json"

    @property
    def measuring(self) -> Path:
        """Locked while somebody sees to the idea's baseline, not as part of a proposal."""
        return self.folder / "measuring.lock"

    def attempt(self, number: int) -> AttemptPaths:
        return AttemptPaths(self.folder / "attempts" / str(number))

    def run(self, index: int) -> JobPaths:
        return JobPaths(self.folder / "runs" / str(index))

    @property
    def verifications(self) -> Path:
        return self.folder / "verifications"


@dataclass(frozen=True)
class Home:
    """The folder that holds all state."""

    root: Path

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.sqlite3"

    @property
    def repository(self) -> Path:
        return self.root / "repo.git"

    @property
    def repository_lock(self) -> Path:
        return self.root / "repo.lock"

    @property
    def sandbox(self) -> Path:
        """What the self-test of the sandbox has found."""
        return self.root / "sandbox.json"

    @property
    def hub(self) -> Path:
        """What the model hub has answered, for a while."""
        return self.root / "hub.json"

    @property
    def leases(self) -> Path:
        """Who has which GPU or CPU slot, and who waits."""
        return self.root / "leases"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def cache_lock(self) -> Path:
        """Held by the one `prepare` that fills the cache."""
        return self.root / "cache.lock"

    @property
    def hub_data(self) -> Path:
        """The hub's caches of `prepare`: what it has downloaded, beside links to what the user has."""
        return self.cache / "hub-data"

    @property
    def ideas(self) -> Path:
        return self.root / "ideas"

    @property
    def worktrees(self) -> Path:
        return self.root / "worktrees"

    @property
    def quarantine(self) -> Path:
        """Records that nobody knows: kept, never counted."""
        return self.root / "quarantine"

    def blob(self, sha256: str) -> Path:
        """Results as they were read, by the digest of their bytes."""
        return self.root / "blobs" / sha256

    def idea(self, idea_id: str) -> IdeaPaths:
        return IdeaPaths(self.ideas / idea_id, self.worktrees / idea_id)

    def baseline(self, fingerprint: str) -> JobPaths:
        return JobPaths(self.root / "baselines" / fingerprint)

    def baseline_lock(self, fingerprint: str) -> Path:
        return self.root / "baselines" / f"{fingerprint}.lock"

    def baseline_locks(self) -> list[Path]:
        """Locks of all baselines that were ever measured here."""
        return sorted((self.root / "baselines").glob("*.lock"))
