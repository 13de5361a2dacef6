"""Caches of the hub for a job that downloads: its own, with what the user's own have in them as links.

FOLDER/hub        HF_HUB_CACHE: files as the hub has them
FOLDER/datasets   HF_DATASETS_CACHE: what the library `datasets` makes of these

The user's caches are read and never changed. The folders are made again, with links for the files, since the
libraries lock what they read and add what is missing. References are copied: what one points to is the job's
own affair. In a sandbox a model that is whole is one link instead, to what cannot be written there: should
another version of it be on the hub by now, the job fails, and does not use another one than runs do.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from agent_runner.errors import ExecutorError
from agent_runner.execution import trees
from agent_runner.models.cached import look
from agent_runner.paths import write_atomic

_MODEL, _DATA_SET = "models--", "datasets--"
_UNFINISHED = (".lock", ".incomplete", ".tmp")  # other jobs' locks, and what is being written
_REFERENCE_LIMIT = 1000  # bytes; it is the name of a commit

Put = Callable[[Path, Path], None]


class HubCaches(NamedTuple):
    """What a job is told of its caches, and the user's folders that it has to be able to read."""

    environment: dict[str, str]
    read: tuple[Path, ...]


def lay_out(environment: Mapping[str, str], folder: Path, *, shut_in: bool) -> HubCaches:
    """Make or renew the caches below `folder`, which one job at a time may have.

    environment: of a job; it names the user's caches. What earlier jobs have downloaded stays.
    shut_in: whether the job is kept from writing to the user's caches.

    Raises:
        ExecutorError: they cannot be written.
    """
    own = {"HF_HUB_CACHE": folder / "hub", "HF_DATASETS_CACHE": folder / "datasets"}
    users = {name: Path(environment[name]).absolute() for name in own if environment.get(name)}
    try:
        _make_folder(folder)
        for name, cache in own.items():
            _make_folder(cache)
            _drop_links(cache)
            if name not in users or _overlap(users[name], folder):
                continue
            if name == "HF_HUB_CACHE":
                _link_hub(users[name], cache, whole_models=shut_in)
            else:
                _link_files(users[name], cache)
    except OSError as error:
        raise ExecutorError(
            f"the caches in {folder} for what is downloaded cannot be made: {error}",
            "See that the disk is not full and that the folder can be written.",
        ) from error
    read = tuple(path for path in users.values() if path.is_dir())
    return HubCaches({name: str(cache) for name, cache in own.items()}, read)


def _link_hub(source: Path, target: Path, *, whole_models: bool) -> None:
    """The repositories of one hub cache, in another."""
    for entry in _entries(source):
        if not entry.name.startswith((_MODEL, _DATA_SET)):
            continue
        found, to = Path(entry.path), target / entry.name
        if _is_whole_model(found):
            trees.remove(str(to))  # a download of the job's own: runs have the user's
            if to.is_symlink():
                to.unlink()
            if whole_models:
                _link(found, to)
                continue
        for part in ("blobs", "snapshots"):
            _link_files(found / part, to / part)
        _add(found / "refs", to / "refs", _copy_reference)


def _is_whole_model(repository: Path) -> bool:
    name = repository.name.removeprefix(_MODEL)
    return name != repository.name and look(repository.parent, "model", name).whole


def _overlap(one: Path, other: Path) -> bool:
    """Whether two folders are the same, or one is inside the other."""
    one, other = one.resolve(), other.resolve()
    return one.is_relative_to(other) or other.is_relative_to(one)


def _link_files(source: Path, target: Path) -> None:
    _add(source, target, _link)


def _add(source: Path, target: Path, put: Put) -> None:
    """Make the folders of a tree again, and what `put` makes of its files."""
    found = _entries(source)
    if not found:
        return
    _make_folder(target.parent)
    _make_folder(target)
    for entry in found:
        if entry.name.endswith(_UNFINISHED):
            continue
        if entry.is_dir(follow_symlinks=False):
            _add(Path(entry.path), target / entry.name, put)
        elif os.path.exists(entry.path):
            put(Path(entry.path), target / entry.name)


def _link(source: Path, target: Path) -> None:
    with contextlib.suppress(FileExistsError):  # the job's own
        target.symlink_to(source)


def _copy_reference(source: Path, target: Path) -> None:
    """Only where the job's own does not lead to anything."""
    repository = next(path.parent for path in target.parents if path.name == "refs")
    with contextlib.suppress(OSError):  # there is none, or it cannot be read
        commit = target.read_text(encoding="utf-8").strip() if not target.is_symlink() else ""
        if commit and (repository / "snapshots" / commit).is_dir():
            return
    try:
        with source.open("rb") as file:
            content = file.read(_REFERENCE_LIMIT)
    except OSError:
        return
    write_atomic(target, content)


def _make_folder(path: Path) -> None:
    """See that there is a folder. What a job put in its place, such as a link to elsewhere, gives way."""
    try:
        path.mkdir()
    except FileExistsError:
        if not stat.S_ISDIR(path.lstat().st_mode):
            path.unlink()
            path.mkdir()


def _drop_links(folder: Path) -> None:
    """Remove all links to elsewhere, which are ours and may be out of date, and folders that are empty then.

    The libraries' own links lead from one place in a cache to another, and say so by a relative path.
    """
    for base, folders, files in os.walk(folder, topdown=False):
        for name in (*folders, *files):
            path = os.path.join(base, name)
            if os.path.islink(path) and os.path.isabs(os.readlink(path)):
                os.unlink(path)
        if base != str(folder):
            with contextlib.suppress(OSError):  # it is not empty
                os.rmdir(base)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder of the user's holds; nothing where it cannot be read."""
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError:
        return []
