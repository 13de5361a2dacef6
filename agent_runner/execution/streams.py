"""The output streams of a job on disk: of each its head as written, then its tail. Standard library only.

The head goes straight to the log, where people can follow it. What comes later goes to numbered segments
beside it, of which the last two are kept; at the end they are joined. Everything needed for that is in the
files' names, so that a log whose supervisor was killed is completed by whoever finds it.

In which order the two streams spoke is kept beside them: a line `SECONDS NAME BYTES` for each turn.
"""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

_SEGMENT_BYTES = 1024 * 1024  # at least, so that a small cap does not mean thousands of files
_COPY_BYTES = 1024 * 1024
_MAX_TURNS = 20_000  # of two streams that speak in turn; half a megabyte


class LogSize(NamedTuple):
    """How much a stream said, and how much of it was not kept."""

    total: int
    dropped: int


class CappedLog:
    """Takes any amount of output, keeps `cap` bytes of it: half from the head, half from the tail."""

    def __init__(self, path: str, cap: int) -> None:
        self.path = path
        self.total = 0
        self.error: OSError | None = None  # the first failure to write; what follows is dropped
        self._cap = cap
        self._segment_size = _segment_size(cap)
        self._head_room = cap // 2
        self._index = -1
        self._room = 0
        self._file: int | None = os.open(path, _WRITE | os.O_TRUNC, 0o600)

    def write(self, data: bytes) -> None:
        """Keep what belongs to the head or may belong to the tail. Never raises: the pipe must be drained."""
        self.total += len(data)
        if self.error is not None:
            return
        view = memoryview(data)
        try:
            if self._head_room:
                part, view = view[: self._head_room], view[self._head_room :]
                self._write_all(part)
                self._head_room -= len(part)
            while view:
                if not self._room:
                    self._next_segment()
                part, view = view[: self._room], view[self._room :]
                self._write_all(part)
                self._room -= len(part)
        except OSError as error:
            self.error = error

    def close(self) -> LogSize:
        """Join head and tail in the log."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        try:
            size = join(self.path, self._cap)
        except OSError as error:
            self.error = self.error or error
            size = LogSize(0, 0)
        # What could not be written was said all the same.
        return LogSize(self.total, size.dropped + max(0, self.total - size.total))

    def _next_segment(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._index += 1
        self._file = os.open(_segment(self.path, self._index), _WRITE | os.O_EXCL, 0o600)
        self._room = self._segment_size
        if self._index >= 2:
            os.unlink(_segment(self.path, self._index - 2))

    def _write_all(self, view: memoryview) -> None:
        assert self._file is not None
        while view:
            view = view[os.write(self._file, view) :]


class TurnLog:
    """Keeps which stream spoke when, and for how many bytes. What it cannot keep is left out, never raised."""

    def __init__(self, path: str) -> None:
        self._file: int | None = os.open(path, _WRITE | os.O_TRUNC, 0o600)
        self._turns = 0
        self._speaker: tuple[float, str] | None = None
        self._bytes = 0

    def add(self, seconds: float, name: str, size: int) -> None:
        """Say that a stream spoke; `seconds` are since the start of the job."""
        if self._speaker is not None and self._speaker[1] == name:
            self._bytes += size
            return
        self._end_turn()
        self._speaker, self._bytes = (seconds, name), size

    def close(self) -> None:
        """Write the last turn down."""
        self._end_turn()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _end_turn(self) -> None:
        if self._speaker is None or self._file is None or self._turns >= _MAX_TURNS:
            return
        self._turns += 1
        seconds, name = self._speaker
        with contextlib.suppress(OSError):
            os.write(self._file, f"{seconds:.3f} {name} {self._bytes}\n".encode())


def join(path: str, cap: int) -> LogSize:
    """Append the tail that lies in segments to the log, after a line that says what is missing.

    Repeatable, also after it was interrupted anywhere. Raises OSError when the log cannot be written.
    """
    segments = _segments(path)
    half = cap // 2
    if len(segments) == 1 and segments[0] > 0:  # only taking the joined ones away was interrupted
        os.unlink(_segment(path, segments.pop()))
    if not segments:
        return LogSize(os.path.getsize(path) if os.path.exists(path) else 0, 0)
    sizes = {index: os.path.getsize(_segment(path, index)) for index in segments}
    said = segments[0] * _segment_size(cap) + sum(sizes.values())  # after the head
    dropped = max(0, said - (cap - half))
    skip = max(0, dropped - segments[0] * _segment_size(cap))
    with open(path, "r+b") as log:
        log.seek(half)
        log.truncate()  # of an earlier join that was interrupted
        if dropped:
            log.write(f"\n[agent_runner: {dropped} bytes dropped here]\n".encode())
        for index in segments:
            with open(_segment(path, index), "rb") as segment:
                segment.seek(min(skip, sizes[index]))
                skip -= segment.tell()
                while block := segment.read(_COPY_BYTES):
                    log.write(block)
    for index in segments:
        os.unlink(_segment(path, index))
    return LogSize(half + said, dropped)


_WRITE = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC


def _segment_size(cap: int) -> int:
    """At least half a cap: then two segments always hold the whole tail once the second is begun."""
    return max(cap - cap // 2, _SEGMENT_BYTES)


def _segment(path: str, index: int) -> str:
    return f"{path}.tail-{index}"


def _segments(path: str) -> list[int]:
    folder, name = os.path.split(path)
    prefix = f"{name}.tail-"
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError):
        for entry in os.listdir(folder):
            if entry.startswith(prefix) and entry[len(prefix) :].isdigit():
                found.append(int(entry[len(prefix) :]))
    return sorted(found)
