"""Where the cgroup hierarchies are mounted, where in them we are, and how their files are read and written.

Standard library only, Linux (cgroups(7), proc_pid_mountinfo(5)).
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

CONTROLLERS = ("memory", "pids")
V2 = "v2"  # stands for the hierarchy of version 2 where those of version 1 go by their controllers

_KINDS = (*CONTROLLERS, "freezer")
_ESCAPED = re.compile(r"\\([0-7]{3})")  # a space in a path of mountinfo is \040
# How a cgroup answers that has been removed, and `cgroup.procs` of one that holds single threads only.
_NO_ANSWER = frozenset({errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP})


class Hierarchy(NamedTuple):
    """A mounted hierarchy: where it begins for us, and the folder of our own cgroup in it."""

    mount: str
    own: str

    def upwards(self) -> Iterator[str]:
        """Our own cgroup and those above it, as far as they can be seen."""
        folder = self.own
        while folder != self.mount:
            yield folder
            folder = os.path.dirname(folder)
        yield folder


class Place(NamedTuple):
    """Where a run's cgroup can be made: a folder for each controller, all the same in version 2."""

    version: str
    parents: dict[str, str]
    may_switch_on: bool = False  # whether we may switch controllers on for all below that folder

    def prepare(self) -> None:
        """Have the controllers at work in what is made here.

        Raises:
            OSError: they cannot be had here.
        """
        if self.version != V2:
            return
        control = f"{self.parents['memory']}/cgroup.subtree_control"
        missing = [name for name in CONTROLLERS if name not in read(control).split()]
        if missing and not self.may_switch_on:
            raise OSError(errno.EPERM, f"{control} does not name {' and '.join(missing)}")
        if missing:
            write(control, " ".join(f"+{name}" for name in missing))


def places(process: str) -> Iterator[Place]:
    """Where a cgroup may be made, best first. `process` is our folder in /proc.

    Version 2: a cgroup that holds processes cannot have controllers on for its children, but at the very root.
    So mostly the run's cgroup becomes a sibling of ours. A process may be moved only by who may write
    `cgroup.procs` of the nearest cgroup above both places, which is the one asked about here.
    """
    hierarchies = mounted(process)
    if V2 in hierarchies:
        for height, folder in enumerate(hierarchies[V2].upwards()):
            has = set(CONTROLLERS) <= set(read(f"{folder}/cgroup.controllers").split())
            if has and os.access(f"{folder}/cgroup.procs", os.W_OK):
                yield Place(V2, dict.fromkeys(CONTROLLERS, folder), may_switch_on=height <= 1)
    parents = {kind: hierarchies[kind].own for kind in _KINDS if kind in hierarchies}
    if parents.keys() >= set(CONTROLLERS):
        yield Place("v1", parents)


def mounted(process: str) -> dict[str, Hierarchy]:
    """The hierarchies that matter here, by controller, and `v2`: those in which we can see our own cgroup."""
    paths = _own_paths(read(f"{process}/cgroup"))
    found: dict[str, Hierarchy] = {}
    for line in read(f"{process}/mountinfo").splitlines():
        fields, _, file_system = line.partition(" - ")
        kind, *_, options = file_system.split(" ")
        if kind not in ("cgroup", "cgroup2"):
            continue
        _, _, _, root, mount, *_ = map(_unescape, fields.split(" "))
        for name in (V2,) if kind == "cgroup2" else set(_KINDS) & set(options.split(",")):
            own = _inside(mount, root, paths.get(name))
            if own is not None:
                found.setdefault(name, Hierarchy(mount, own))
    return found


def _own_paths(text: str) -> dict[str, str]:
    """Lines such as `4:memory:/a/b` and, for version 2, `0::/a/b`."""
    paths: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(",") if controllers else [V2], path))
    return paths


def _inside(mount: str, root: str, path: str | None) -> str | None:
    """The folder of the cgroup `path` where a mount shows the hierarchy from `root` on."""
    if path is None or not f"{path}/".startswith(f"{root.rstrip('/')}/"):
        return None
    folder = os.path.join(mount, os.path.relpath(path, root)) if path != root else mount
    return folder if os.path.isdir(folder) else None


def _unescape(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)


def below(top: str, stop_at: str | None = None) -> list[str]:
    """The folder and all below it, parents first; nothing below those whose name begins with `stop_at`."""
    found = [top]
    for folder in found:  # it grows while we go
        if stop_at is not None and folder != top and os.path.basename(folder).startswith(stop_at):
            continue
        try:
            with os.scandir(folder) as entries:
                found += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError as error:
            if error.errno not in _NO_ANSWER and error.errno != errno.EACCES:
                raise
    return found


def read(path: str) -> str:
    """The text of a cgroup's file; empty where there is no such file, or no such cgroup any more.

    Raises:
        OSError: it is there and cannot be read: "empty" would be a wrong answer.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError as error:
        if error.errno in _NO_ANSWER:
            return ""
        raise


def write(path: str, value: str) -> None:
    """Write a word to a cgroup's file in one system call.

    Raises:
        OSError: what the kernel says, with the file and the word.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, value.encode("ascii"))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OSError(error.errno, f"cannot write {value} to {path}: {error.strerror}") from error


def try_to_write(path: str, value: str) -> bool:
    """Write a word to a file that not every kernel has; whether that went well."""
    try:
        write(path, value)
    except OSError:
        return False
    return True


def make_folder(path: str) -> None:
    """Make a cgroup.

    Raises:
        OSError: what the kernel says, with the path.
    """
    try:
        os.mkdir(path, 0o755)
    except OSError as error:
        raise OSError(error.errno, f"cannot make {path}: {error.strerror}") from error


def remove_tree(top: str) -> None:
    """Remove a cgroup and all below it; nothing happens where it is gone.

    Raises:
        OSError: processes are still in it (EBUSY), or we may not.
    """
    for folder in reversed(below(top)):
        try:
            os.rmdir(folder)
        except OSError as error:
            if error.errno not in _NO_ANSWER:
                raise
