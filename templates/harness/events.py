"""Telling the runner how far a run has come: one JSON object a line in `events.jsonl`.

By hand (without AGENT_RUNNER_RECORD_DIR) nothing is written, and what a reader must know is printed.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

Phase = Literal["import", "model load", "data", "training", "evaluation", "writing results"]


def emit(**event: Any) -> None:
    """Append one event. A line is one write call, so that writers of the same file cannot mix."""
    folder = os.environ.get("AGENT_RUNNER_RECORD_DIR")
    if not folder:
        return
    line = json.dumps(event, allow_nan=False) + "\n"
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    handle = os.open(Path(folder) / "events.jsonl", flags, 0o644)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


_current: list[Phase] = []  # the last one said


def phase(name: Phase) -> None:
    """Say that a phase begins."""
    _current[:] = [name]
    emit(phase=name)


@contextlib.contextmanager
def interrupted_by(name: Phase) -> Iterator[None]:
    """Another phase within the current one, which goes on after it. An exception stays in the inner one."""
    before = list(_current)
    phase(name)
    yield
    if before and before != _current:
        phase(before[0])


def warn(code: str, message: str) -> None:
    """Say something a reader of the results must know: printed and recorded."""
    print(f"warning ({code}): {message}", flush=True)
    emit(warning={"code": code, "message": message})
