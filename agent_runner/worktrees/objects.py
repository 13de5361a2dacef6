"""Git objects made by ourselves: hashed, and written so that a power cut cannot take them back.

The formats are those of git's own documentation ("Git Objects" in the Pro Git book). As they are written here
and not by `git add`, git never opens a file of a worktree: no link is followed, no filter, attribute or
configuration is asked, and what is synced to disk is known.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import struct
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

WHO = "agent_runner <agent_runner@localhost>"
FILE, PROGRAM, FOLDER = "100644", "100755", "40000"


class Entry(NamedTuple):
    """One file of a tree: its mode as git writes it, the id of its content, its size in bytes."""

    mode: str
    id: str
    size: int = 0

    @property
    def regular(self) -> bool:
        """Not so are links and submodules, which a template never has; a tree made elsewhere may."""
        return self.mode in (FILE, PROGRAM)


def object_id(kind: str, data: bytes) -> str:
    """The id of an object: SHA-1 of its header and content, as git computes it."""
    return hashlib.sha1(b"%s %d\0%s" % (kind.encode(), len(data), data)).hexdigest()


def encode_trees(files: Mapping[str, Entry]) -> list[tuple[str, bytes]]:
    """The tree objects (id, content) of a whole listing of files by path; the root's is the last."""
    here: dict[str, Entry] = {}
    below: dict[str, dict[str, Entry]] = defaultdict(dict)
    for path, entry in files.items():
        first, slash, rest = path.partition("/")
        if slash:
            below[first][rest] = entry
        else:
            here[first] = entry
    trees: list[tuple[str, bytes]] = []
    for name, inner in below.items():
        trees += encode_trees(inner)
        here[name] = Entry(FOLDER, trees[-1][0])
    # Git sorts a folder as if its name ended in a slash.
    names = sorted(here, key=lambda n: os.fsencode(n) + b"/" * (here[n].mode == FOLDER))
    data = b"".join(
        b"%s %s\0%s" % (here[n].mode.encode(), os.fsencode(n), bytes.fromhex(here[n].id))
        for n in names
    )
    return [*trees, (object_id("tree", data), data)]


def encode_commit(tree: str, parent: str | None, message: str, date: datetime.datetime) -> bytes:
    """A commit of ours. The same arguments are the same commit in every home."""
    who = f"{WHO} {int(date.timestamp())} +0000"
    lines = [f"tree {tree}", *([f"parent {parent}"] if parent else []), f"author {who}"]
    text = "\n".join([*lines, f"committer {who}", "", message.replace("\0", "").rstrip("\n"), ""])
    return text.encode("utf-8", errors="replace")


def encode_index(files: Mapping[str, Entry]) -> bytes:
    """An index (version 2, see gitformat-index) of these files that knows nothing of their state on disk."""
    body = b"DIRC" + struct.pack(">II", 2, len(files))
    for path, entry in sorted((os.fsencode(path), entry) for path, entry in files.items()):
        stat = struct.pack(">6I", 0, 0, 0, 0, 0, 0) + struct.pack(
            ">4I", int(entry.mode, 8), 0, 0, 0
        )
        length = struct.pack(">H", min(len(path), 0xFFF))
        item = stat + bytes.fromhex(entry.id) + length + path
        body += item + b"\0" * (8 - len(item) % 8)
    return body + hashlib.sha1(body).digest()


class NewObjects:
    """Objects on their way into a repository; see `new_objects`."""

    def __init__(self, objects: Path) -> None:
        self._objects = objects
        self._made: dict[Path, Path] = {}  # where it will be -> where it is

    def add(self, kind: str, data: bytes) -> str:
        """Write an object beside its place, synced, unless it is there; returns its id."""
        name = object_id(kind, data)
        path = self._objects / name[:2] / name[2:]
        if path in self._made or _freshened(path):
            return name
        descriptor, temporary = tempfile.mkstemp(prefix="tmp_obj_", dir=self._objects)
        self._made[path] = Path(temporary)
        with os.fdopen(descriptor, "wb") as file:
            file.write(zlib.compress(b"%s %d\0%s" % (kind.encode(), len(data), data), 1))
            file.flush()
            os.fchmod(descriptor, 0o444)
            os.fsync(descriptor)
        return name

    def add_tree(self, files: Mapping[str, Entry]) -> str:
        """Write the trees of a listing whose contents are there; returns the root's id."""
        return [self.add("tree", data) for _, data in encode_trees(files)][-1]

    def save(self) -> None:
        """Everything to its place, for good."""
        folders = {path.parent for path in self._made}
        changed = set(folders)
        for folder in folders:
            if not folder.exists():
                folder.mkdir(exist_ok=True)
                changed.add(self._objects)
        for path, temporary in self._made.items():
            temporary.rename(path)
        self._made = {}
        for folder in changed:
            sync_folder(folder)

    def discard(self) -> None:
        for temporary in self._made.values():
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_objects(git_dir: Path) -> Iterator[NewObjects]:
    """Objects that are on disk for good when the block has ended, or, after an error, not at all."""
    objects = NewObjects(git_dir / "objects")
    try:
        yield objects
        objects.save()
    finally:
        objects.discard()


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _freshened(path: Path) -> bool:
    """Whether an object is there. Its time is renewed: what is young is never collected (as git does it)."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    except PermissionError:
        return path.exists()
    return True
