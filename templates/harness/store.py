"""A store of computed inputs, addressed by everything they depend on.

An entry is a folder `<root>/<kind>/<hash of the key>` with `entry.json` (the key and the size of each
file). It is written aside and renamed, so it is there whole or not at all, and read-only afterwards. The
runner fills the store once by `python -m harness.prepare`; runs read it. Where the store cannot be written
(runs in a sandbox) and lacks an entry, the run computes it for itself in a temporary folder.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from harness import events, seeds

FORMAT_VERSION = 2
LIBRARIES = ("torch", "transformer-lens", "transformers", "sae-bench", "scikit-learn", "numpy")

Build = Callable[[Path], None]


def root() -> Path:
    """AGENT_RUNNER_CACHE, by hand the user's cache folder."""
    if folder := os.environ.get("AGENT_RUNNER_CACHE"):
        return Path(folder)
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "agent_runner"


def digest_of_files(*paths: Path) -> str:
    """SHA-256 over the names and contents of files."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.name}:{content}\n".encode())
    return total.hexdigest()


def entry(kind: str, key: Mapping[str, Any], build: Build, *, size: int = 0) -> Path:
    """The folder of an entry, computed by `build(folder)` if the store lacks it.

    `size` is an estimate of its bytes, for the check of free space before the work starts.

    Raises:
        OSError: not enough space for the entry.
    """
    key, name = _addressed(kind, key)
    folder = root() / kind / name
    if folder.is_dir():
        if _is_whole(folder):
            return folder
        events.warn(
            "cache-damaged", f"{folder} is damaged; computing its content again for this run"
        )
        return _build(Path(_private_root()) / kind / name, key, build, size)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder.parent, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        folder = Path(_private_root()) / kind / name
        if folder.is_dir():
            return folder
        events.warn(
            "cache-cold",
            f"the shared cache {root()} has no {kind} for these settings and cannot be written from here; "
            "computing it for this run only. `python -m harness.prepare` fills it",
        )
    return _build(folder, key, build, size)


def holds(kind: str, key: Mapping[str, Any]) -> bool:
    """Whether the store has this entry, undamaged."""
    return _is_whole(root() / kind / _addressed(kind, key)[1])


def _addressed(kind: str, key: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The whole key, and the name that is made of it."""
    whole = {"kind": kind, "format": FORMAT_VERSION, "versions": _versions(), **key}
    text = json.dumps(whole, sort_keys=True, allow_nan=False)
    return whole, hashlib.sha256(text.encode()).hexdigest()[:32]


def _build(folder: Path, key: Mapping[str, Any], build: Build, size: int) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    _check_space(folder.parent, size)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        # A run draws the same random numbers whether it finds an entry or computes it.
        with seeds.undisturbed():
            build(aside)
        files = {p.name: p.stat().st_size for p in sorted(aside.iterdir())}
        (aside / "entry.json").write_text(json.dumps({"key": key, "files": files}, indent=1))
        for path in aside.iterdir():
            path.chmod(0o444)
        aside.chmod(0o755)
        try:
            aside.rename(folder)
        except OSError:
            # Another process was faster; its entry has the same content.
            if not _is_whole(folder):
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _is_whole(folder: Path) -> bool:
    try:
        files = json.loads((folder / "entry.json").read_text())["files"]
        return all((folder / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, KeyError):
        return False


def _check_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size * 1.1 > free:
        raise OSError(
            f"the cache needs about {size / 2**30:.1f} GiB in {folder}, and {free / 2**30:.1f} GiB are free. "
            "Free some space, point AGENT_RUNNER_CACHE elsewhere, or lower the sizes in template.toml"
        )


def _versions() -> dict[str, str]:
    """Versions of the libraries whose numbers end up in entries."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


_private: list[str] = []


def _private_root() -> str:
    """A temporary folder of this process, removed at its end."""
    if not _private:
        _private.append(tempfile.mkdtemp(prefix="agent_runner_cache_"))
        atexit.register(shutil.rmtree, _private[0], ignore_errors=True)
    return _private[0]
