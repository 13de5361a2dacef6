"""What of the hub is on this machine already, whole: its cache folder, read by its own rules.

<cache>/models--<user>--<name>/
  refs/main                     the commit that `main` was at
  snapshots/<commit>/<file>     a link to the file's content
  blobs/<digest>                contents; `<digest>.<anything>.incomplete` while they are being fetched
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from agent_runner.models.assets import Kind

_COMMIT = re.compile(r"[\w.-]{1,64}")
_INDEX_LIMIT = 64 * 1024 * 1024
# In the order in which `transformers` looks for weights, each with the index of those in several files.
_WEIGHTS = (
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)


@dataclass(frozen=True)
class Cached:
    """One repository in the cache. `problem`: why what is there is not whole; None where it is."""

    revision: str | None = None
    problem: str | None = None
    weight_bytes: int = 0

    @property
    def whole(self) -> bool:
        return self.revision is not None and self.problem is None


def repository_folder(cache: Path, kind: Kind, name: str) -> Path:
    return cache / f"{kind}s--{name.replace('/', '--')}"


def look(cache: Path, kind: Kind, name: str) -> Cached:
    """What the cache has of a model or data set. Half a download is not a model."""
    try:
        return _look(repository_folder(cache, kind, name), kind)
    except OSError as error:
        return Cached(problem=f"what is in the cache of it cannot be read ({error.strerror})")


def _look(folder: Path, kind: Kind) -> Cached:
    try:
        commit = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        return Cached(problem="its download was not finished" if folder.is_dir() else None)
    snapshot = folder / "snapshots" / commit
    if not _COMMIT.fullmatch(commit) or not snapshot.is_dir():
        return Cached(problem="its download was not finished: the cache has no snapshot of `main`")
    if kind == "dataset":
        return Cached(commit, _dataset(folder, snapshot))
    problem, weights = _model(snapshot)
    return Cached(commit, problem, weights)


def missing_bytes(folder: Path, digests: dict[str, int]) -> int:
    """Bytes of those contents, by digest, that the cache does not have yet."""
    return sum(
        max(0, size - _size(folder / "blobs" / f"{digest}.incomplete"))
        for digest, size in digests.items()
        if _size(folder / "blobs" / digest) != size
    )


def _model(snapshot: Path) -> tuple[str | None, int]:
    """What a model lacks, and the bytes of its weights.

    It is whole with its configuration and one form of weights, as for `templates/harness/models.py`. Whether
    something else of the repository is on its way does not matter to what is there.
    """
    if _size(snapshot / "config.json") == 0:
        return "its download was not finished: config.json is missing", 0
    for single, index in _WEIGHTS:
        if size := _size(snapshot / single):
            return None, size
        if (snapshot / index).exists():
            return _sharded(snapshot, index)
    return "its download was not finished: it has no weights", 0


def _sharded(snapshot: Path, index: str) -> tuple[str | None, int]:
    try:
        names = _named_by(snapshot / index)
    except (OSError, ValueError, TypeError, AttributeError):
        return f"its {index} cannot be read", 0
    sizes = {name: _size(snapshot / name) for name in names}
    missing = sorted(name for name, size in sizes.items() if not size)
    if missing or not sizes:
        named = missing[0] if missing else "every weight file"
        return f"its download was not finished: {named} is missing", 0
    return None, sum(sizes.values())


def _named_by(index: Path) -> set[str]:
    if index.stat().st_size > _INDEX_LIMIT:
        raise ValueError("too large for an index")
    names = set(json.loads(index.read_bytes())["weight_map"].values())
    if not all(isinstance(name, str) and "/" not in name for name in names):
        raise ValueError("an index names files beside it")
    return names


def _dataset(folder: Path, snapshot: Path) -> str | None:
    """What a data set lacks: a file of the hub's list; where the cache has none, what is on its way."""
    if not any(path.is_file() for path in snapshot.rglob("*")):
        return "its download was not finished: its snapshot is empty"
    listed = _listed(folder / "trees" / f"{snapshot.name}.json")
    if listed is None:
        pending = _pending(folder)
        return f"its download was not finished: {pending} is there" if pending else None
    missing = sorted(name for name in listed if not (snapshot / name).exists())
    return f"its download was not finished: {missing[0]} is missing" if missing else None


def _listed(tree: Path) -> list[str] | None:
    """The files of a repository, as the hub's client has written them down; None where it has not."""
    try:
        return [str(name) for name in json.loads(tree.read_bytes())["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _pending(folder: Path) -> str | None:
    """A content that is being fetched, or was when its process died, and has not been fetched since."""
    for path in sorted((folder / "blobs").glob("*.incomplete")):
        if not (folder / "blobs" / path.name.split(".", 1)[0]).exists():
            return path.name
    return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
