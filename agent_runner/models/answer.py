"""What the hub says of a repository: whether it can be had with this machine's token, and its files."""

from __future__ import annotations

from typing import Literal

from agent_runner.records import Record


class RemoteFile(Record):
    """A file on the hub. digest: sha256 of a large one, else git's sha1 of a blob; it names the content."""

    path: str
    size: int
    digest: str


class Answer(Record):
    """One answer of the hub, or why there is none, or how a download ended that it allowed.

    files: those that are worth fetching; of a data set only their sum, `size`, is remembered.
    endpoint_down: nobody answered at all, so that no other name needs to be asked for now.
    retry_after: seconds that the hub asked to wait.
    failures: downloads that failed in a row, the last of them as `status` says; 0: this is the hub's answer.
    """

    status: Literal[
        "accessible",
        "gated",
        "forbidden",
        "not_found",
        "unreachable",
        "damaged",
        "no_disk",
        "not_cached",
    ]
    reason: str = ""
    remedy: str = ""
    gated: bool = False
    revision: str | None = None
    files: tuple[RemoteFile, ...] = ()
    size: int = 0
    parameters: int = 0
    endpoint_down: bool = False
    retry_after: float = 0.0
    failures: int = 0
