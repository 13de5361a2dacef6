"""Which file a block is for, and whether it may be edited. Certain, or refused."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath

_DECORATION = "*`'\"_ \t"
_PREFIX = re.compile(r"^(?:[#>]+\s+|[-*+]\s+|\d+[.)]\s+)+")
_LABEL = re.compile(
    r"^(?:in\s+)?(?:the\s+)?(?:file(?:\s*name|\s*path)?|path|filename)\s*[:=]\s*", re.IGNORECASE
)
_RANGE = re.compile(r"\s*\((?:lines?|updated|modified|new|edit(?:ed)?)\b[^)]*\)\s*$", re.IGNORECASE)
_LINK = re.compile(r"^\[[^\]]*\]\(([^)\s]+)\)$")
_PATH = re.compile(
    r"^[^\s:;,!?(){}\[\]<>|]*\.[A-Za-z][A-Za-z0-9_+-]{0,11}$|^[^\s:;,!?(){}\[\]<>|]+/[^\s:;,!?(){}\[\]<>|]+$"
)


class Target:
    """A file of the folder, or the reason why what was named cannot be edited."""

    def __init__(self, path: str | None, refused: str | None = None) -> None:
        self.path = path
        self.refused = refused


def named_target(
    hints: tuple[str, ...], files: Collection[str], editable: Collection[str] | None
) -> Target | None:
    """The file that the text above a block names; None where it names none."""
    for position, hint in enumerate(hints):
        for name in _candidates(hint, whole_line=position <= 1 or hint.startswith("```")):
            target = _resolve(name, files, editable)
            if target is not None:
                return target
    mentioned = _mentioned(" ".join(h for h in hints if not h.startswith("```")), files)
    return Target(mentioned) if mentioned is not None else None


def check_path(name: str) -> str | None:
    """Why a path may never be edited, whatever the list says; None where it may."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or name.startswith(("~", "$", "\\")) or re.match(r"^[A-Za-z]:", name):
        return "absolute paths are not allowed"
    if "\0" in name:
        return "the path holds a NUL character"
    parts = re.split(r"[/\\]", name)
    if ".." in parts:
        return "`..` is not allowed in a path"
    if any(part.lower() == ".git" or part.lower().startswith(".git:") for part in parts):
        return ".git is never edited"
    return None


def _candidates(hint: str, *, whole_line: bool) -> list[str]:
    """Path-like readings of one line, decorations taken off."""
    if hint.startswith("```"):
        info = hint.removeprefix("```").replace("{", " ").replace("}", " ")
        words = [
            re.sub(r"^(?:title|file|filename|path)=", "", w).strip(_DECORATION)
            for w in info.split()
        ]
        words += [w.partition(":")[2] for w in info.split() if ":" in w]
        return [w for w in words if _PATH.match(w)]
    if not whole_line:
        return []
    text = _PREFIX.sub("", hint.strip()).strip()
    text = _RANGE.sub("", text.rstrip(":").strip())
    text = _LABEL.sub("", text.strip(_DECORATION)).strip(_DECORATION).rstrip(":").strip(_DECORATION)
    link = _LINK.match(text)
    text = link[1] if link else text
    return [text] if text and not re.search(r"\s", text) else []


def _resolve(name: str, files: Collection[str], editable: Collection[str] | None) -> Target | None:
    known = name.removeprefix("./")
    forbidden = check_path(name) if _PATH.match(name) or name in files else None
    if forbidden is not None:
        return Target(name, forbidden)
    if known in files or (editable is not None and known in editable):
        return Target(known)
    if not _PATH.match(known):
        return None
    same_name = [path for path in files if PurePosixPath(path).name == known]
    if "/" not in known and len(same_name) == 1:
        return Target(same_name[0])
    return Target(known, "there is no such file here")


def _mentioned(text: str, files: Collection[str]) -> str | None:
    """The one known file that a paragraph names; None where it names none, or several."""
    found = {
        path for path in files if re.search(rf"(?<![\w/.-]){re.escape(path)}(?![\w/-]|\.\w)", text)
    }
    return found.pop() if len(found) == 1 else None


def sole(files: Mapping[str, str], editable: Collection[str] | None) -> str | None:
    """The only file that may be edited, where there is only one."""
    choices = list(files) if editable is None else [name for name in editable if name in files]
    return choices[0] if len(choices) == 1 else None
