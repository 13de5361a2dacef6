"""What no edit may do, whatever it matches: leave the folder, elide code."""

from __future__ import annotations

import re
from collections.abc import Sequence

_DRIVE = re.compile(r"[A-Za-z]:")


def forbidden_path(name: str) -> str | None:
    """Why a path can never be edited, whatever the list of editable files says; None where it can."""
    parts = name.replace("\\", "/").split("/")
    if not name.strip() or any(ord(character) < 32 or character == "\x7f" for character in name):
        return "it is empty or holds control characters"
    if any("\ud800" <= character <= "\udfff" for character in name):
        return "it is not valid Unicode"
    if parts[0] == "" or _DRIVE.match(name):
        return "it is absolute; write paths relative to the experiment's folder"
    if parts[0].startswith("~") or "$" in name:
        return "`~` and `$` are not expanded; write paths relative to the experiment's folder"
    if ".." in parts:
        return "it leads out of the experiment's folder (`..`)"
    if any(_is_git(part) for part in parts):
        return "it is git's own"
    return None


def _is_git(part: str) -> bool:
    # Other names of it where case, trailing dots or all but eight characters do not count.
    return part.casefold().rstrip(". ") in (".git", "git~1")


# ---------------------------------------------------------------- placeholders

_COMMENT = re.compile(
    r"\s*(?:#+|//+|/\*+|--|<!--|\*|\(|\[|<|\"\"\"|%|;)?\s*(.*?)\s*(?:\*/|-->|\)|\]|>|\"\"\")?\s*"
)
_DOTS = r"(?:\.{3,}|…)"
_PART = (
    r"(?:code|file|function|method|class|implementation|script|body|logic|module|loop|training|program|methods|"
    r"functions|imports|lines|content|contents|definitions?|layers|stuff|setup|arguments|parameters)"
)
_UNTOUCHED = (
    r"(?:(?:remains?|stays?|is|are|kept|left|continues?|goes)?\s*(?:the\s+|exactly\s+|all\s+)*"
    r"(?:same|unchanged|as[ -]is|as (?:before|above|it was|in the original)|unmodified|untouched|omitted|here|"
    r"below|follows)(?:\s+(?:as\s+)?(?:before|above|here|below|for brevity|unchanged))*)"
)
_LAZY = [
    re.compile(rf"{_DOTS}"),
    re.compile(
        rf"{_DOTS}.*\b(?:rest|remaining|remainder|existing|previous|original|same|unchanged|omitted|other|"
        rf"before|above|code|here|continues?|as is)\b.*"
    ),
    re.compile(
        rf"(?:the\s+)?(?:rest|remainder)\s+of\s+(?:\w+\s+){{0,3}}{_PART}\b(?:\s+{_UNTOUCHED})?"
    ),
    re.compile(rf"(?:the\s+)?(?:rest|remainder|everything else|all else)\s+{_UNTOUCHED}"),
    re.compile(
        rf"(?:the\s+|all\s+|your\s+)*(?:existing|previous|remaining)\s+(?:\w+\s+){{0,2}}{_PART}"
        rf"(?:\s+{_UNTOUCHED}|\s*\(.*)?"
    ),
    re.compile(
        rf"(?:the\s+|all\s+)*(?:other|original|same|this|rest|{_PART})\s+(?:\w+\s+){{0,2}}?{_UNTOUCHED}"
    ),
    re.compile(rf"(?:same|unchanged|no changes?)(?:\s+{_UNTOUCHED}|\s+(?:code|needed|as before))?"),
    re.compile(
        rf"(?:keep|insert|add|put|leave)\s+(?:the\s+|your\s+|all\s+)*(?:rest|existing|remaining|original)\s+"
        rf"(?:\w+\s+){{0,3}}{_PART}(?:\s+{_UNTOUCHED})?"
    ),
]  # fmt: skip


_LEADS = frozenset('#/*<[(-%;…".')  # what such a line begins with


def placeholder(replace: Sequence[str], search: Sequence[str], original: str) -> int | None:
    """The index of the first REPLACE line that stands for code which is not there; None where there is none.

    A line that SEARCH or the file has too is real text, and `...` may be the body of a stub.
    """
    for index, line in enumerate(replace):
        text = line.strip()
        if text[:1] not in _LEADS or not _is_lazy(text):
            continue
        if any(text == old.strip() for old in search):
            continue
        if text == "...":
            real = _is_stub(replace, index)
        else:
            real = text in (other.strip() for other in original.split("\n"))
        if not real:
            return index
    return None


def _is_lazy(stripped: str) -> bool:
    if len(stripped) > 160:
        return False
    is_comment = not stripped.startswith(".") or stripped.startswith("...")
    match = _COMMENT.fullmatch(stripped)
    if not is_comment or match is None:
        return False
    body = match[1].strip("()[]<>{} \t").lower()
    bare = re.sub(rf"^{_DOTS}\s*|\s*(?:{_DOTS}|[.!:,;])+$", "", body).strip()
    lead = body.startswith(("...", "…"))
    if lead and not bare:
        return True
    if stripped[0] in '("-*<[' and not (lead or stripped.endswith((")", "]", ">", "...", "…"))):
        return False
    return any(pattern.fullmatch(text) for pattern in _LAZY for text in (body, bare) if text)


_OWNER = re.compile(r"\s*(?:async\s+def|def|class)\b|\s*[)\]].*:$")


def _is_stub(lines: Sequence[str], index: int) -> bool:
    """`...` alone is code as the whole body of a `def` or `class` (after a docstring, perhaps)."""
    indent = _depth(lines[index])
    below = next((line for line in lines[index + 1 :] if line.strip()), "")
    if below and _depth(below) >= indent:
        return False
    above = [line.rstrip() for line in lines[:index] if line.strip()]
    if not above:
        return False
    if above[-1].endswith(('"""', "'''")) and _depth(above[-1]) == indent:
        return True
    return bool(above[-1].endswith(":") and _OWNER.match(above[-1])) and _depth(above[-1]) < indent


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())
