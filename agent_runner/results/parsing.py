"""JSON as a result file must be: standard, finite, of bounded depth, with nothing said twice."""

from __future__ import annotations

import json
import math
from typing import Any

MAX_DEPTH = 64
MAX_NUMBER_CHARACTERS = 400


class InvalidResults(ValueError):
    """The text is not such JSON; the message says what and where."""


def parse_results(data: bytes) -> dict[str, Any]:
    """Parse the bytes of a result file.

    Every number in the answer is finite also as a float, every string can be written as UTF-8.

    Raises:
        InvalidResults: not UTF-8, not JSON, NaN or an infinity, a number too large for a float or of
            more than 400 characters, a key given twice, nested deeper than 64, or not an object.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidResults(f"it is not UTF-8 (byte {error.start})") from error
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_real,
            parse_constant=float,  # NaN, Infinity: found below, where the place can be told
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidResults(f"it is not JSON: {error.msg} ({place})") from error
    except RecursionError as error:
        raise InvalidResults(f"it is nested deeper than {MAX_DEPTH} levels") from error
    if not isinstance(value, dict):
        raise InvalidResults(f"its top level is {_kind(value)}, not an object")
    _check(value, ())
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise InvalidResults(f"the key {_shown(key)} is given twice in one object")
        found[key] = value
    return found


def _integer(token: str) -> int:
    _check_length(token)
    return int(token)


def _real(token: str) -> float:
    _check_length(token)
    return float(token)


def _check_length(token: str) -> None:
    if len(token) > MAX_NUMBER_CHARACTERS:
        raise InvalidResults(
            f"a number has {len(token)} characters; at most {MAX_NUMBER_CHARACTERS} are read"
        )


def _check(value: dict[str, Any] | list[Any], path: tuple[str, ...]) -> None:
    """Depth, finiteness and text of everything below `value`, which stands at `path`."""
    if len(path) >= MAX_DEPTH:
        raise InvalidResults(f"it is nested deeper than {MAX_DEPTH} levels")
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        if isinstance(key, str):
            _check_text(key, path)
        if isinstance(item, (dict, list)):
            _check(item, (*path, str(key)))
        elif isinstance(item, str):
            _check_text(item, (*path, str(key)))
        elif isinstance(item, (int, float)) and not _finite(item):
            raise InvalidResults(
                f"{_place((*path, str(key)))} is not a finite number ({_name(item)})"
            )


def _finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer beyond the range of a float
        return False


def _name(number: float) -> str:
    """NaN and the infinities as JSON writers spell them; a number that only became infinite as such."""
    if isinstance(number, float):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(number)]
    return "too large for a float"


def _check_text(text: str, path: tuple[str, ...]) -> None:
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidResults(
            f"{_place(path)} has text with half of a surrogate pair, which is no character"
        ) from error


def _place(path: tuple[str, ...]) -> str:
    return _shown(".".join(path)) if path else "the top level"


def _shown(name: str) -> str:
    """A name that a run chose, safe to print and of bounded length."""
    return repr(name if len(name) <= 80 else name[:77] + "...")


def _kind(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
