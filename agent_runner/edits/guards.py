"""What is refused although it could be applied: placeholders for code, and broken Python."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence

_COMMENT = r"(?:#|//|/\*|<!--|--|%|;)"
_SUBJECT = r"(?:code|file|function|method|class|implementation|logic|lines?|content|methods|functions|imports)"
_LAZY = (
    re.compile(
        rf"^\s*{_COMMENT}.*(?:\.\.\.|\u2026).*\b(?:rest|existing|remaining|unchanged|same|previous|other)\b",
        re.I,
    ),
    re.compile(
        rf"^\s*{_COMMENT}.*\b(?:rest|existing|remaining|unchanged|same|previous|other)\b.*(?:\.\.\.|\u2026)",
        re.I,
    ),
    re.compile(
        rf"^\s*{_COMMENT}\W*(?:the\s+)?rest of\s+(?:the\s+|your\s+|this\s+)?{_SUBJECT}\b", re.I
    ),
    re.compile(
        rf"^\s*{_COMMENT}\W*(?:existing|previous|unchanged|original|remaining|same)\s+{_SUBJECT}\W*"
        r"(?:here|as before|unchanged|stays?|remains?|continues?|goes here|omitted)?(?: the same)?\W*$",
        re.I,
    ),
)
_DOTS = re.compile(r"^\s*(?:\.\.\.|\u2026)\s*$")


def lazy_line(
    search: Sequence[str], replace: Sequence[str], file_lines: Sequence[str]
) -> str | None:
    """A REPLACE line that stands for code instead of being it; None where there is none.

    A line that SEARCH or the file has as well is text like any other, and `...` as the body of a
    definition is Python.
    """
    known = {line.strip() for line in (*search, *file_lines)}
    previous = ""
    for line in replace:
        if line.strip() not in known:
            if any(pattern.search(line) for pattern in _LAZY):
                return line
            if _DOTS.match(line) and not previous.rstrip().endswith((":", "(", "[", "{", ",")):
                return line
        if line.strip():
            previous = line
    return None


def broken_python(path: str, old: str, new: str) -> SyntaxError | None:
    """The error of a Python file that parsed before and does not after."""
    if not path.endswith(".py") or not _parses(old):
        return None
    return _syntax_error(new)


def _parses(text: str) -> bool:
    return _syntax_error(text) is None


def _syntax_error(text: str) -> SyntaxError | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an author's SyntaxWarning is no error
            ast.parse(text.removeprefix("\ufeff"))
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError) as error:
        return SyntaxError(f"{type(error).__name__}: {error}")
    return None
