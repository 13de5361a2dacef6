"""SAEBench and its libraries without their line per probe, so that a run's output stays readable."""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO

_CHATTER = (
    "Num non-zero elements",
    "Test accuracy for",
    "Training probe with dim",
    "GPU probe training early stopping",
    "Loading activations from",
    "Moving model to device",
)


class _WithoutChatter(io.TextIOBase):
    """Passes on whole lines, but not progress bars and the lines listed above."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._line = out, ""

    def write(self, text: str) -> int:
        *whole, self._line = (self._line + text).split("\n")
        for line in whole:
            if "\r" not in line and not line.startswith(_CHATTER):
                self._out.write(line + "\n")
        return len(text)

    def close_line(self) -> None:
        """What came without an end of line."""
        if self._line and "\r" not in self._line:
            self._out.write(self._line)


@contextlib.contextmanager
def sae_bench() -> Iterator[None]:
    """Drops known chatter and known warnings; what the experiment itself prints passes."""
    out, err = _WithoutChatter(sys.stdout), _WithoutChatter(sys.stderr)
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", category=FutureWarning, module="sklearn")
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        out.close_line()
        err.close_line()
