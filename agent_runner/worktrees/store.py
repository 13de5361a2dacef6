"""What is in the repository: commits, trees and refs, read, and written under the repository's lock."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from agent_runner.errors import GitError
from agent_runner.worktrees.files import plain_bytes
from agent_runner.worktrees.git import Git
from agent_runner.worktrees.objects import Entry, encode_trees, sync_folder

_ID = re.compile(rb"[0-9a-f]{40}\n?")
_KEPT = 64  # listings of commits held in memory
_BATCH = 32 * 1024 * 1024  # bytes of files that one git call hands over


def branch(idea: str) -> str:
    """The ref of an idea's branch."""
    return f"refs/heads/ideas/{idea}"


def attempt_ref(idea: str, number: int) -> str:
    """The ref that keeps an attempt's commit for ever."""
    return f"refs/attempts/{idea}/{number}"


def run_ref(idea: str, index: int) -> str:
    """The ref that keeps a run's commit for ever."""
    return f"refs/runs/{idea}/{index}"


class Commit(NamedTuple):
    """What a commit says."""

    tree: str
    parents: tuple[str, ...]
    message: str

    @property
    def subject(self) -> str:
        return self.message.partition("\n")[0]


class Store:
    """The bare repository of a home, without any worktree."""

    def __init__(self, git_dir: Path, lock: Path) -> None:
        self.git = Git(git_dir)
        self.git_dir = git_dir
        self._lock = lock
        self._listings: dict[str, Mapping[str, Entry]] = {}
        self._commits: dict[str, Commit] = {}

    @contextlib.contextmanager
    def locked(self) -> Iterator[int]:
        """Hold the repository's lock; gives its descriptor, for git to inherit. Not reentrant."""
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    # ------------------------------------------------------------ reading

    def find(self, revision: str) -> str | None:
        """The commit that a name stands for; None where there is none."""
        if revision.startswith("refs/"):
            # A ref is a file of 41 bytes, unless somebody has packed it: no process is needed to read it.
            path = self.git_dir / revision
            content = plain_bytes(path) or b""
            if _ID.fullmatch(content):
                return content.decode().strip()
            if not os.path.lexists(path) and not (self.git_dir / "packed-refs").exists():
                return None
        try:
            return self.resolve(revision)
        except GitError:
            return None

    def resolve(self, revision: str) -> str:
        """The id that a name stands for.

        Raises:
            GitError: it stands for nothing here.
        """
        found = self.git.read("rev-parse", "--verify", "--end-of-options", revision)
        return found.decode().strip()

    def holds(self, commit: str) -> bool:
        """Whether a commit of this id is there."""
        if (self.git_dir / "objects" / commit[:2] / commit[2:]).is_file():
            return True
        try:
            return bool(self.commit(commit).tree)
        except GitError:
            return False

    def commit(self, revision: str) -> Commit:
        """What a commit says. Raises GitError where there is no such commit."""
        if revision in self._commits:
            return self._commits[revision]
        text = self.git.read("cat-file", "commit", revision).decode("utf-8", errors="replace")
        head, _, message = text.partition("\n\n")
        fields = [line.split(" ", 1) for line in head.splitlines()]
        parents = tuple(value for name, value in fields if name == "parent")
        found = Commit(fields[0][1], parents, message)
        if _ID.fullmatch(revision.encode()):
            self._commits[revision] = found
        return found

    def listing(self, commit: str) -> Mapping[str, Entry]:
        """The files of a commit, by path.

        Raises:
            GitError: there is no such commit, or git did not tell all of it.
        """
        known = self._listings.get(commit)
        if known is not None:
            return known
        options = ("-r", "-l", "-z", "--full-tree")
        found = dict(_entries(self.git.read("ls-tree", *options, commit)))
        # What is not in the listing is taken for no part of the commit, and put aside: it has to be whole.
        if encode_trees(found)[-1][0] != self.commit(commit).tree:
            raise GitError(
                f"git listed the files of {commit} only in part",
                "See that the disk is not full, then repeat; nothing was changed.",
            )
        if _ID.fullmatch(commit.encode()):
            self.remember(commit, found)
        return found

    def remember(self, commit: str, listing: Mapping[str, Entry]) -> None:
        """Spare git the question for the files of a commit: they never change."""
        if len(self._listings) >= _KEPT:
            self._listings.clear()
        self._listings[commit] = listing

    def contents(self, entries: Iterable[Entry]) -> Iterator[bytes]:
        """The bytes of these files, in order; a call of git for every 32 MB."""
        batch: list[Entry] = []
        for entry in entries:
            if batch and sum(e.size for e in batch) + entry.size > _BATCH:
                yield from self._batch(batch)
                batch = []
            batch.append(entry)
        if batch:
            yield from self._batch(batch)

    def _batch(self, entries: Sequence[Entry]) -> Iterator[bytes]:
        asked = "".join(f"{entry.id}\n" for entry in entries).encode()
        output = self.git.read("cat-file", "--batch", stdin=asked)
        place = 0
        for entry in entries:
            end = output.index(b"\n", place)
            if not output[place:end].endswith(b" blob %d" % entry.size):
                raise GitError(
                    f"the repository has lost a file's content: {output[place:end].decode()}",
                    f"Restore {self.git_dir} from a copy; `agent-runner ledger check` lists what is missing.",
                )
            yield output[end + 1 : end + 1 + entry.size]
            place = end + 1 + entry.size + 1

    # ------------------------------------------------------------ refs

    def set_refs(self, lock: int, new: Mapping[str, str], old: Mapping[str, str | None]) -> None:
        """Point refs at commits, all or none, and have that on disk.

        old: what some of them have to stand at before; None: not to exist.
        """
        zero = "0" * 40
        lines = []
        for name, commit in new.items():
            expected = f" {old[name] or zero}" if name in old else ""
            lines.append(f"update {name} {commit}{expected}\n")
        above = {self.git_dir / folder for name in new for folder in Path(name).parents}
        folders = {(self.git_dir / name).parent for name in new}
        folders |= {folder.parent for folder in above if not folder.exists()}
        self.git.write(lock, "update-ref", "--stdin", stdin="".join(lines).encode())
        # Git syncs the file of a ref, and never the folder that holds its name.
        for folder in folders:
            sync_folder(folder)

    def refs(self, prefix: str) -> dict[str, str]:
        """All refs below a prefix, with the commits they stand for."""
        output = self.git.read("for-each-ref", "--format=%(objectname) %(refname)", prefix)
        pairs = (line.split(" ", 1) for line in output.decode().splitlines())
        return {name: commit for commit, name in pairs}


def _entries(output: bytes) -> Iterator[tuple[str, Entry]]:
    for line in output.split(b"\0"):
        head, _, path = line.partition(b"\t")
        if head:
            mode, _, name, size = head.decode().split()
            yield os.fsdecode(path), Entry(mode, name, int(size) if size.isdigit() else 0)
