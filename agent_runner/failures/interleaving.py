"""Both output streams of a job as one text, in the order in which they spoke."""

from __future__ import annotations

import re
from collections import deque
from typing import NamedTuple

GAP = re.compile(rb"\n\[agent_runner: (\d{1,18}) bytes (?:dropped|left out) here\]\n")
"""What stands in a log for what is missing of it: `execution.streams` has dropped it, or `gap` left it out."""

_LARGEST = 10**18 - 1  # that the mark can say; more is only said of what a program has made up


def gap(size: int) -> bytes:
    """The mark in place of `size` bytes of what was said; they were kept, but are not read here."""
    return b"\n[agent_runner: %d bytes left out here]\n" % min(size, _LARGEST)


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
        _append(parts, stream.rest())
    return b"".join(parts).decode("utf-8", "replace")


def _append(parts: list[bytes], data: bytes) -> None:
    if not data:
        return
    if parts and not parts[-1].endswith(b"\n"):
        parts.append(b"\n")
    parts.append(data)


class _Piece(NamedTuple):
    """A part of what was said: `size` bytes of it, and what stands for them."""

    size: int
    shown: memoryview
    is_gap: bool = False


class _Stream:
    """A log that is read from its start, by sizes of what was said: also of what is missing."""

    def __init__(self, log: bytes) -> None:
        view, at = memoryview(log), 0
        self._pieces: deque[_Piece] = deque()
        for found in GAP.finditer(log):
            start, end = found.span()
            self._pieces.append(_Piece(start - at, view[at:start]))
            self._pieces.append(_Piece(int(found[1]), view[start:end], is_gap=True))
            at = end
        self._pieces.append(_Piece(len(log) - at, view[at:]))

    def take(self, size: int) -> bytes:
        """What is kept of the next `size` bytes that were said. The mark of a gap comes with its first byte."""
        taken: list[memoryview] = []
        while size and self._pieces:
            piece = self._pieces.popleft()
            part = min(size, piece.size)
            size -= part
            taken.append(piece.shown if piece.is_gap else piece.shown[:part])
            if part < piece.size:
                left = piece.shown[:0] if piece.is_gap else piece.shown[part:]
                self._pieces.appendleft(_Piece(piece.size - part, left, piece.is_gap))
        return b"".join(taken)

    def rest(self) -> bytes:
        """What is kept of all that was said after that."""
        taken = b"".join(piece.shown for piece in self._pieces)
        self._pieces.clear()
        return taken
