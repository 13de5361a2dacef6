"""How these tests ask, and what they look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hub_stand_in import WEIGHTS, Fault, Hub, sha256_of

from agent_runner.models import Asset, Machine, assess
from agent_runner.records import Access, ModelSpec

SMALL, GATED = "org/small", "org/gated"
ABSENT = "it is not in this machine's model cache"
DIGEST = sha256_of(WEIGHTS)
GIB = 2**30


def every(**fault: object) -> Fault:
    return Fault(path="/api/models/", **fault)  # type: ignore[arg-type]


def shown(text: str, hub: Hub) -> str:
    return text.replace(hub.url.removeprefix("http://"), "HUB")


def ask(
    machine: Machine,
    name: str,
    *,
    memo: Path,
    kind: str = "model",
    specs: Sequence[ModelSpec] = (ModelSpec(name=SMALL, parameters=75_000),),
    deadline_s: float = 20.0,
) -> Access:
    asset = Asset(kind, name)  # type: ignore[arg-type]
    (access,) = assess([asset], specs, Path("/nowhere"), machine, memo, deadline_s=deadline_s)
    return access


def cache(machine: Machine, name: str, files: Mapping[str, str], *, ref: str = "abc") -> Path:
    folder = machine.hub_cache / f"models--{name.replace('/', '--')}"
    for path, text in files.items():
        file = folder / "snapshots" / "abc" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(ref)
    (folder / "blobs").mkdir(exist_ok=True)
    return folder


WHOLE = {"config.json": "{}", "model.safetensors": "weights"}


def assessed(machine: Machine, memo: Path, name: str = SMALL, kind: str = "model") -> Access:
    asset = Asset(kind, name)  # type: ignore[arg-type]
    (access,) = assess([asset], [], Path("/nowhere"), machine, memo, deadline_s=10.0)
    return access


def folder(machine: Machine, name: str = SMALL) -> Path:
    return machine.hub_cache / f"models--{name.replace('/', '--')}"


def loadable(machine: Machine, name: str = SMALL) -> list[Path]:
    """Snapshots in which a run would find weights."""
    found = (folder(machine, name) / "snapshots").glob("*/*.safetensors")
    return [path for path in found if path.exists()]


def file_requests(hub: Hub) -> int:
    return hub.asked(f"/cdn/{DIGEST}")
