"""The head and the tail of a log that is too large to be read whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from agent_runner.failures.interleaving import GAP, gap

_BLOCK = 256 * 1024
_LONGEST_GAP = 64  # bytes of a mark: 56 with a number of 18 digits
_LINE = 4096  # a tail begins with a whole line, if one begins within so many bytes


def read_ends(path: Path, *, head: int, tail: int) -> bytes:
    """The first `head` and the last `tail` bytes of a log, with a mark between them; a small log is read whole.

    The mark counts what was said between the two ends: also what a mark in there stands for, so that the
    turns of the streams still fit. Of the two ends a little less is read where a mark or a line is cut by
    them. Empty where there is no such file.

    Raises:
        OSError: it cannot be read.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return b""
    with file:
        size = os.fstat(file.fileno()).st_size
        if size <= head + tail + _LONGEST_GAP:
            return file.read(size)
        begin, end = head, size - tail
        file.seek(end)
        end += file.read(min(_LINE, tail)).find(b"\n") + 1
        left_out = 0
        for start, stop, missing in _gaps(file, begin - _LONGEST_GAP, end + _LONGEST_GAP):
            if start <= end and stop > begin:
                begin, end = min(begin, start), max(end, stop)
                left_out += missing - (stop - start)
        file.seek(0)
        first = file.read(begin)
        file.seek(end)
        return first + gap(end - begin + left_out) + file.read(size - end)


def _gaps(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Every mark between two offsets: where it begins and ends, and the bytes it stands for."""
    at = max(0, start)
    file.seek(at)
    window = b""
    while block := file.read(min(_BLOCK, max(0, end - at - len(window)))):
        window += block
        done = 0
        for found in GAP.finditer(window):
            yield at + found.start(), at + found.end(), int(found[1])
            done = found.end()
        keep = max(done, len(window) - _LONGEST_GAP)
        at, window = at + keep, window[keep:]
