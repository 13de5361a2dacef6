"""Answers of the hub, remembered for a while, so that a proposal need not wait for them again."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from agent_runner.models.answer import Answer
from agent_runner.models.machine import Machine
from agent_runner.paths import read_json, write_json

_HOUR = 3600.0
# Seconds. Short where a person may be about to put it right.
TIMES = {"accessible": 6 * _HOUR, "gated": 60.0, "forbidden": 60.0, "not_found": 120.0}
UNREACHABLE = 30.0
# After the first, second, further failed downloads in a row, which may have cost much and may do so again.
FAILED = (120.0, 600.0, _HOUR)
# What a person puts right, or what happens once; it costs little to find it unchanged.
_ALIKE_EACH_TIME = frozenset({"gated", "forbidden", "no_disk", "not_cached"})
_IN_A_ROW = 6 * _HOUR  # how long a failed download is counted

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
        return self._answer(key, "holds")

    def past(self, key: str) -> Answer | None:
        """An answer that holds, or a failed download that still counts."""
        return self._answer(key, "kept")

    def _answer(self, key: str, span: str) -> Answer | None:
        entry = self._entries.get(key)
        if entry is None or not _fresh(entry, self._clock(), span):
            return None
        try:
            return Answer.model_validate(entry["answer"])
        except (KeyError, ValueError):
            return None  # damaged, or of another version

    def put(self, answers: Mapping[str, Answer], *, forget: Collection[str] = ()) -> None:
        """Remember answers, and forget others. Where the file cannot be written, nothing is changed in it."""
        if not answers and not forget:
            return
        now = self._clock()
        new = {key: _entry(answer, now) for key, answer in answers.items()}
        with _lock:
            # Read again: another process may have added to it.
            kept = {
                name: entry
                for name, entry in self._load().items()
                if _fresh(entry, now, "kept") and name not in forget
            }
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


def _entry(answer: Answer, now: float) -> dict[str, Any]:
    times = {"asked": now, "holds": holds(answer)}
    if answer.failures:
        times["kept"] = max(_IN_A_ROW, holds(answer))
    return {**times, "answer": answer.model_dump(mode="json")}


def _fresh(entry: Any, now: float, span: str) -> bool:
    """Whether an entry is no older than it says: it `holds` so many seconds, and may be `kept` longer."""
    try:
        return bool(0 <= now - entry["asked"] < entry.get(span, entry["holds"]))
    except (TypeError, KeyError, AttributeError):
        return False


def holds(answer: Answer) -> float:
    """Seconds for which an answer is remembered."""
    usual = TIMES.get(answer.status, UNREACHABLE)
    if answer.failures:
        usual = FAILED[min(answer.failures, len(FAILED)) - 1]
        usual = FAILED[0] if answer.status in _ALIKE_EACH_TIME else usual
    return max(usual, min(answer.retry_after, _HOUR))
