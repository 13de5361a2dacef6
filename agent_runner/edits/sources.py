"""Where the files under edit come from: texts that the caller holds, or (`directory`) a folder."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Protocol

from agent_runner.edits.names import as_listed


@dataclass(frozen=True)
class Unreadable:
    """A file that is there and cannot be edited, with the reason."""

    reason: str


class Source(Protocol):
    """Where the files come from."""

    @property
    def names(self) -> Collection[str]:
        """The files that exist."""

    @property
    def editable(self) -> Collection[str]:
        """The files that a reply may change, or create."""

    @property
    def ascii_only(self) -> Collection[str]:
        """Of the files read so far, those that are not UTF-8: other new text has no certain bytes there."""

    def read(self, name: str) -> str | Unreadable | None:
        """The text of a file; None where there is none."""


def listed(editable: Iterable[str | PathLike[str]] | str | None) -> list[str] | None:
    """The editable paths as a list of strings; a single path counts as a list of one."""
    if editable is None:
        return None
    if isinstance(editable, str | PathLike):
        return [fspath(editable)]
    return [fspath(path) for path in editable]


class Texts:
    """Texts that the caller holds."""

    def __init__(self, files: Mapping[str, str], editable: Collection[str] | None) -> None:
        self._files = files
        self.names: Collection[str] = files.keys()
        self.editable: Collection[str] = (
            files.keys() if editable is None else as_listed(editable, files)
        )
        self.ascii_only: Collection[str] = ()

    def read(self, name: str) -> str | None:
        return self._files.get(name)
