"""Both output streams of a job as one text, in the order in which they spoke."""

from __future__ import annotations

import re

# What `execution.streams` writes where it kept a head and a tail only.
_DROPPED = re.compile(rb"\n\[agent_runner: (\d{1,18}) bytes dropped here\]\n")


def interleave(stdout: bytes, stderr: bytes, turns: str) -> str:
    """Merge two logs. `turns` are lines `SECONDS NAME BYTES`; what they do not cover comes at the end.

    A stream's turn begins on a line of its own. Undecodable bytes are replaced; turns that do not keep the
    form are passed over.
    """
    streams = {"stdout": _Stream(stdout), "stderr": _Stream(stderr)}
    parts: list[bytes] = []
    for line in turns.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in streams and words[2].isascii() and words[2].isdigit():
            _append(parts, streams[words[1]].take(int(words[2])))
    for stream in streams.values():
        _append(parts, stream.take(None))
    return b"".join(parts).decode("utf-8", "replace")


def _append(parts: list[bytes], data: bytes) -> None:
    if not data:
        return
    if parts and not parts[-1].endswith(b"\n"):
        parts.append(b"\n")
    parts.append(data)


class _Stream:
    """A log that is read from its start, by sizes of what was said: also of what was not kept."""

    def __init__(self, log: bytes) -> None:
        found = _DROPPED.search(log)
        self._head = log[: found.start()] if found else log
        self._note = found[0] if found else b""
        self._missing = int(found[1]) if found else 0
        self._tail = log[found.end() :] if found else b""
        self._at = 0  # how much of what was said has been taken

    def take(self, size: int | None) -> bytes:
        """What is kept of the next `size` bytes that were said; None: of all the rest."""
        said = len(self._head) + self._missing + len(self._tail)
        start, end = self._at, said if size is None else min(self._at + size, said)
        self._at = end
        tail = len(self._head) + self._missing  # where it begins
        note = self._note if start <= len(self._head) < end else b""
        head = self._head[start:end]
        return head + note + self._tail[max(0, start - tail) : max(0, end - tail)]
