"""The process that fetches one model or data set: `python -m agent_runner.models.fetch`, a request on stdin.

Every content is verified before anything points to it: a run that looks into the cache meanwhile finds no
snapshot, or the former one. Says how far it is, and how it ended, in lines of JSON on stdout. It ends when its
stdin does: nobody waits for it then.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tenacity

from agent_runner.models import hub, needs, refusals
from agent_runner.models.answer import RemoteFile
from agent_runner.models.assets import Kind
from agent_runner.models.cached import repository_folder
from agent_runner.models.machine import Machine, free_disk

_CHUNK = 2**20
_TALK_S = 0.5  # seconds between two lines about the same file
_ATTEMPTS = 6  # in a row that bring nothing
# Seconds without a new byte after which it is given up, whatever was tried meanwhile.
_SILENT_S = 30.0  # nothing comes, or connections break
_REFUSED_S = 15.0  # the server says that it is out of order
_TOO_MANY_S = 60.0  # too many requests; the hub says itself when to ask again
_READ_S = 15.0  # of one attempt: a connection that has died is made anew once
_STALE_S = 3600.0  # after which a partial content that nobody fetches any more is removed
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Damaged(Exception):
    """A file is not what the hub says it is."""


def say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def main() -> int:
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    machine = Machine(
        hub_cache=Path(request["cache"]),
        free_memory_bytes=None,
        endpoint=request["endpoint"],
        token=os.environ.get("HF_TOKEN") or None,
    )
    fetching = Fetching(request["kind"], request["name"], request["revision"], machine)
    try:
        with _alone(fetching.folder):
            fetching.run()
        say(status="ready")
    except Damaged as error:
        say(status="damaged", reason=str(error), remedy="try again later; the hub may be at fault")
    except OSError as error:
        say(**_failed(error, fetching, machine))
    # Whatever else the library thinks of: the server that waits is to hear of it.
    except Exception as error:
        say(**_refused(error, fetching, machine))
    return 0


def _failed(error: OSError, fetching: Fetching, machine: Machine) -> dict[str, Any]:
    """An error of the disk, or of the hub: its errors are also such."""
    if getattr(error, "response", None) is not None or error.errno is None:
        return _refused(error, fetching, machine)
    if error.errno in _FULL:
        free = needs.amount(free_disk(fetching.folder) or 0)
        return {
            "status": "no_disk",
            "reason": "the disk became full while it was fetched "
            f"({free} free at {machine.hub_cache}); what was fetched is kept",
            "remedy": "free disk space, or set HF_HUB_CACHE to a folder on a larger disk",
        }
    return {
        "status": "no_disk",
        "reason": f"its files cannot be written to {machine.hub_cache}: {os.strerror(error.errno)}",
        "remedy": "let the server write there, or set HF_HUB_CACHE to another folder",
    }


def _refused(error: Exception, fetching: Fetching, machine: Machine) -> dict[str, Any]:
    answer = refusals.refusal(error, fetching.kind, fetching.name, machine)
    reason = answer.reason + (
        "; what was fetched is kept" if answer.status == "unreachable" else ""
    )
    remedy = answer.remedy or "start it again: it goes on from there"
    return {
        "status": answer.status,
        "reason": reason,
        "remedy": remedy,
        "retry_after": answer.retry_after,
    }


@dataclass
class Fetching:
    """One repository at one commit, on its way into the cache.

    moved: when something came last that had not been here before (of the monotonic clock).
    """

    kind: Kind
    name: str
    revision: str | None
    machine: Machine
    fetched: int = 0
    total: int = 0
    moved: float = field(default_factory=time.monotonic)
    _farthest: int = field(default=0, repr=False)
    _spoke: float = field(default=0.0, repr=False)

    @property
    def folder(self) -> Path:
        return repository_folder(self.machine.hub_cache, self.kind, self.name)

    @property
    def blobs(self) -> Path:
        return self.folder / "blobs"

    def run(self) -> None:
        """Fetch and verify every content, then let the snapshot and `main` point to them."""
        importlib.import_module("huggingface_hub.hf_api")  # takes its time, which is not the hub's
        url = hub.repository_url(self.kind, self.name, self.machine, self.revision)
        self.moved = time.monotonic()
        described = hub.retried(
            lambda: hub.json_of(url, self.machine, time.monotonic() + self._patience()),
            stop=_Stuck(self),
        )
        listed = hub.listing(self.kind, described)
        if not listed.files:
            raise Damaged("its repository has no files to fetch")
        self.blobs.mkdir(parents=True, exist_ok=True)
        self.total = sum(file.size for file in listed.files)
        self.revision = listed.revision
        for file in listed.files:
            self._content(file)
        self._publish(listed.revision, listed.files)

    def _content(self, file: RemoteFile) -> None:
        """Have a file's content in the cache, verified; a wrong one is fetched once more.

        Raises:
            Damaged: it was wrong twice.
        """
        before = self.fetched
        blob = self.blobs / file.digest
        if blob.exists():
            say(progress=f"verifying {file.path}, which is here already")
            if _digest_of(blob, file) == file.digest:
                self._count(file, file.size)
                return
            self._remove(file)
        for _ in range(2):
            self.fetched = before
            partial = self._fetch(file)
            if _digest_of(partial, file) == file.digest:
                _sync(partial)
                os.replace(partial, blob)
                return
            partial.unlink(missing_ok=True)
            say(progress=f"{file.path} arrived damaged")
        raise Damaged(
            f"{file.path} from {self.machine.host} is not what the hub says it is: "
            "its checksum is wrong, twice"
        )

    def _fetch(self, file: RemoteFile) -> Path:
        """Fetch a content beside its place, going on from what is there of it."""
        partial = self.blobs / f"{file.digest}.incomplete"
        if partial.exists() and partial.stat().st_size > file.size:
            partial.unlink()
        before = self.fetched
        self._farthest = before + (partial.stat().st_size if partial.exists() else 0)
        self.moved = time.monotonic()

        def once() -> None:
            self.fetched = before
            with partial.open("ab") as target:
                self._stream(file, target)

        hub.retried(once, stop=_Stuck(self), first_wait_s=0.3)
        return partial

    def _stream(self, file: RemoteFile, target: Any) -> None:
        import httpx2
        from huggingface_hub import hf_hub_url, hf_raise_for_status

        present = target.seek(0, os.SEEK_END)
        if present == file.size and present:
            self._count(file, present)
            return
        headers = hub.headers(self.machine.token)
        if present:
            headers["range"] = f"bytes={present}-"
        url = hf_hub_url(
            self.name,
            file.path,
            repo_type=self.kind,
            revision=self.revision,
            endpoint=self.machine.endpoint,
        )
        timeout = self._patience()
        with hub.client().stream("GET", url, headers=headers, timeout=timeout) as response:
            hf_raise_for_status(response)
            if present and response.status_code != 206:
                target.truncate(0)
                present = 0
            self._count(file, present)
            # As they come, in no larger pieces: what is here when it breaks off is kept.
            for chunk in response.iter_bytes():
                target.write(chunk)
                self._count(file, len(chunk))
                if target.tell() > file.size:
                    return  # not what was announced, and it might never end
        if target.tell() < file.size:
            raise httpx2.RemoteProtocolError(f"{file.path} ended early")

    def _patience(self) -> float:
        """Seconds that one attempt may go without a byte."""
        left = self.moved + _SILENT_S - time.monotonic()
        return min(_READ_S, max(1.0, left))

    def _count(self, file: RemoteFile, size: int) -> None:
        self.fetched += size
        now = time.monotonic()
        if self.fetched > self._farthest:
            self._farthest, self.moved = self.fetched, now
        if now - self._spoke >= _TALK_S or self.fetched >= self.total:
            self._spoke = now
            say(
                progress=f"{needs.amount(self.fetched)} of {needs.amount(self.total)} ({file.path})"
            )

    def _remove(self, file: RemoteFile) -> None:
        """Remove a damaged content and whatever points to it."""
        blob = self.blobs / file.digest
        for link in (self.folder / "snapshots").glob("*/**/*"):
            if link.is_symlink() and os.path.realpath(link) == os.path.realpath(blob):
                link.unlink()
        blob.unlink()

    def _publish(self, revision: str, files: tuple[RemoteFile, ...]) -> None:
        """Let a snapshot point to the contents, and `main` to the snapshot, as the hub's own client does."""
        snapshot = self.folder / "snapshots" / revision
        for file in files:
            link = snapshot / file.path
            link.parent.mkdir(parents=True, exist_ok=True)
            target = os.path.relpath(self.blobs / file.digest, link.parent)
            new = link.with_name(f".{link.name}.{os.getpid()}")
            new.symlink_to(target)
            os.replace(new, link)
        ref = self.folder / "refs" / "main"
        ref.parent.mkdir(parents=True, exist_ok=True)
        new = ref.with_name(f".main.{os.getpid()}")
        new.write_text(revision, encoding="utf-8")
        os.replace(new, ref)
        self._clear()

    def _clear(self) -> None:
        """Remove parts of contents that nobody fetches any more."""
        for partial in self.blobs.glob("*.incomplete"):
            with contextlib.suppress(OSError):
                whole = (self.blobs / partial.name.split(".", 1)[0]).exists()
                if whole or time.time() - partial.stat().st_mtime > _STALE_S:
                    partial.unlink()


class _Stuck(tenacity.stop.stop_base):
    """Stops where attempts bring nothing new, however long a file takes that comes."""

    def __init__(self, fetching: Fetching) -> None:
        self._fetching = fetching
        self._moved = fetching.moved
        self._vain = 0

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        moved = self._fetching.moved
        self._vain = 0 if moved > self._moved else self._vain + 1
        self._moved = moved
        error = retry_state.outcome.exception() if retry_state.outcome is not None else None
        idle = time.monotonic() - moved + retry_state.upcoming_sleep
        return self._vain >= _ATTEMPTS or idle >= _longest_idle(error)


def _longest_idle(error: BaseException | None) -> float:
    """Seconds without a new byte after which nothing more is tried."""
    status = refusals.status_of(error) if error is not None else None
    if status is None:
        return _SILENT_S
    return _TOO_MANY_S if status == 429 else _REFUSED_S


def _digest_of(path: Path, file: RemoteFile) -> str:
    """sha256 of a content, or git's sha1 of it as a blob, whichever the hub gave."""
    size = path.stat().st_size
    digest = hashlib.sha256() if len(file.digest) == 64 else hashlib.sha1(b"blob %d\0" % size)
    with path.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    """Have a content on disk before it is found under its name, also after a power cut."""
    with path.open("rb") as content:
        os.fsync(content.fileno())


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time fetches a repository; the others wait and then find it there."""
    path = folder.parent / ".locks" / folder.name / "agent-runner.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(progress="waiting: another process is fetching it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _end_with_stdin() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
