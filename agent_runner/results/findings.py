"""Findings, and bounded words for what a run may have put into its file."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from agent_runner.records import Finding

MAX_MESSAGE = 600  # names in a file are the run's, and may be of any length
MAX_SHOWN = 5
_MAX_VALUE = 60


def fail(code: str, message: str) -> Finding:
    """The numbers say nothing about the experiment, or cannot be compared."""
    return Finding(severity="fail", code=code, message=_bounded(message))


def warn(code: str, message: str) -> Finding:
    """The numbers are to be read with care."""
    return Finding(severity="warn", code=code, message=_bounded(message))


def note(code: str, message: str) -> Finding:
    """Something a reader should know."""
    return Finding(severity="info", code=code, message=_bounded(message))


def shown(value: Any) -> str:
    """Any JSON value in at most 60 characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more than 4300 digits; nested too deep
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= _MAX_VALUE else text[: _MAX_VALUE - 3] + "..."


def listed(values: Iterable[str], *, at_most: int = MAX_SHOWN) -> str:
    """The first few, and how many more there are."""
    every = list(values)
    more = len(every) - at_most
    words = ", ".join(name if len(name) <= 100 else name[:97] + "..." for name in every[:at_most])
    return f"{words} and {more} more" if more > 0 else words


def with_values(values: Mapping[str, float]) -> str:
    """`name 0.1234` each, the first few of them."""
    return listed(f"{name} {value:.4f}" for name, value in values.items())


def numbers(values: Iterable[float]) -> str:
    """A few numbers, as a list."""
    every = list(values)
    few = ", ".join(f"{value:g}" for value in itertools.islice(every, 10))
    return f"[{few}, ...]" if len(every) > 10 else f"[{few}]"


def _bounded(message: str) -> str:
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 3] + "..."
