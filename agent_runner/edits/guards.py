"""Paths that no edit may touch, whatever the list of editable files says."""

from __future__ import annotations

import re

_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
SURROGATE = re.compile("[\ud800-\udfff]")


def forbidden_path(name: str) -> str | None:
    """Why a path can never be edited, whatever the list of editable files says; None where it can."""
    parts = name.replace("\\", "/").split("/")
    if not name.strip() or _CONTROL.search(name):
        return "it is empty or holds control characters"
    if SURROGATE.search(name):
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
