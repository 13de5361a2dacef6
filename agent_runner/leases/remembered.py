"""What has to be known of earlier leases: `desk.json`, and a file per GPU that is out of use."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from agent_runner.errors import UsageError
from agent_runner.leases.gpus import Gpu
from agent_runner.paths import read_json, write_json

_MOST_HOLDERS = 1000  # ideas whose last turn is remembered


@dataclass(frozen=True)
class Use:
    """A GPU was lent and not yet proved free again.

    holder: whose run it was. base_bytes: in use on it before (None: could not be read). known: the pids of
    the processes that were on it before.
    """

    holder: str
    base_bytes: int | None
    known: tuple[int, ...] = ()

    def after(self, earlier: Use) -> Use:
        """This use, where an earlier one is still to be over: the GPU has to come back to the lesser figure."""
        bases = [use.base_bytes for use in (earlier, self) if use.base_bytes is not None]
        return Use(self.holder, min(bases, default=None), earlier.known)


@dataclass
class Remembered:
    """`desk.json`. served: when each idea was last served, as a count. uses: by the GPU's UUID."""

    served: dict[str, int] = field(default_factory=dict)
    uses: dict[str, Use] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Remembered:
        """Read it; empty where there is none, or a broken one: that must not stop all runs."""
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            values = read_json(path) or {}
            uses = {
                uuid: Use(use["holder"], use["base_bytes"], tuple(use["known"]))
                for uuid, use in values["uses"].items()
            }
            return cls({name: int(count) for name, count in values["served"].items()}, uses)
        return cls()

    def save(self, path: Path) -> None:
        latest = sorted(self.served.items(), key=lambda item: item[1])[-_MOST_HOLDERS:]
        uses = {uuid: dataclasses.asdict(use) for uuid, use in self.uses.items()}
        write_json(path, {"served": dict(latest), "uses": uses})

    def serve(self, holder: str) -> None:
        """Note that it is an idea's turn now."""
        self.served[holder] = max(self.served.values(), default=0) + 1


@dataclass(frozen=True)
class Quarantined:
    """A GPU that is not lent any more until somebody lifts it. `holder` ran on it last."""

    index: str
    uuid: str
    name: str
    reason: str
    holder: str
    time: str

    @classmethod
    def now(cls, gpu: Gpu, reason: str, holder: str) -> Quarantined:
        time = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(gpu.label, gpu.uuid, gpu.name, reason, holder, time)

    def __str__(self) -> str:
        return f"GPU {self.index} ({self.name}) is in quarantine since {self.time}: {self.reason}"


class Quarantine:
    """The GPUs that are out of use, a file each, until somebody has looked at them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def uuids(self) -> frozenset[str]:
        return frozenset(item.uuid for item in self.all())

    def all(self) -> tuple[Quarantined, ...]:
        """All of them, by index. Of one whose record cannot be read, only the UUID is known."""
        names = os.listdir(self._folder) if self._folder.is_dir() else []
        found = [self._read(self._folder / name) for name in names if name.endswith(".json")]
        present = [item for item in found if item is not None]
        return tuple(sorted(present, key=lambda item: (len(item.index), item.index, item.uuid)))

    def put(self, item: Quarantined) -> None:
        write_json(self._file(item.uuid), dataclasses.asdict(item))

    def lift(self, index: int | str) -> Quarantined:
        """Take a GPU, named by its index or UUID, out of quarantine.

        Raises:
            UsageError: it is not in quarantine.
        """
        items = self.all()
        for item in items:
            if str(index) in (item.index, item.uuid):
                self._file(item.uuid).unlink(missing_ok=True)
                return item
        there = ", ".join(item.index for item in items)
        raise UsageError(
            f"GPU {index} is not in quarantine",
            f"In quarantine are: {there}." if there else "No GPU is in quarantine.",
        )

    def _file(self, uuid: str) -> Path:
        return self._folder / f"{uuid.replace('/', '_')}.json"

    def _read(self, path: Path) -> Quarantined | None:
        with contextlib.suppress(ValueError, TypeError):
            values = read_json(path)
            return None if values is None else Quarantined(**values)  # None: lifted just now
        return Quarantined(path.stem, path.stem, "", "its record cannot be read", "", "")
