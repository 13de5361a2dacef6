"""Answers of the hub, remembered for a while, so that a proposal need not wait for them again."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agent_runner.models.answer import Answer
from agent_runner.models.machine import Machine
from agent_runner.paths import read_json, write_json

_HOUR = 3600.0
# Seconds. Short where a person may be about to put it right.
TIMES = {"accessible": 6 * _HOUR, "gated": 60.0, "forbidden": 60.0, "not_found": 120.0}
UNREACHABLE = 30.0

_process: dict[str, Any] = {}  # what is remembered where there is no file
_lock = threading.Lock()


def key(machine: Machine, kind: str, name: str) -> str:
    """What an answer holds for: the endpoint, the repository, and who asked (a digest of the token)."""
    if machine.token is None:
        who = "-"
    else:
        text = f"{machine.endpoint} {machine.token}"
        who = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:16]
    return f"{machine.shown_endpoint} {who} {kind} {name}"


class Memo:
    """A file of answers; without one they are kept in this process."""

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._entries = self._load()

    def get(self, key: str) -> Answer | None:
        """An answer that still holds."""
        entry = self._entries.get(key)
        if entry is None or not _fresh(entry, self._clock()):
            return None
        try:
            return Answer.model_validate(entry["answer"])
        except (KeyError, ValueError):
            return None  # damaged, or of another version

    def put(self, answers: Mapping[str, Answer]) -> None:
        """Remember answers. Where the file cannot be written, nothing is remembered."""
        if not answers:
            return
        now = self._clock()
        new = {
            key: {"asked": now, "holds": holds(answer), "answer": answer.model_dump(mode="json")}
            for key, answer in answers.items()
        }
        with _lock:
            # Read again: another process may have added to it.
            kept = {name: entry for name, entry in self._load().items() if _fresh(entry, now)}
            self._entries = {**kept, **new}
            if self._path is None:
                _process.clear()
                _process.update(self._entries)
                return
            with contextlib.suppress(OSError):
                write_json(self._path, self._entries)

    def _load(self) -> dict[str, Any]:
        if self._path is None:
            return dict(_process)
        try:
            entries = read_json(self._path)
        except (OSError, ValueError, RecursionError):
            return {}
        return entries if isinstance(entries, dict) else {}


def _fresh(entry: Any, now: float) -> bool:
    try:
        return bool(0 <= now - entry["asked"] < entry["holds"])
    except (TypeError, KeyError):
        return False


def holds(answer: Answer) -> float:
    """Seconds for which an answer is remembered."""
    usual = TIMES.get(answer.status, UNREACHABLE)
    return max(usual, min(answer.retry_after, _HOUR))
