"""Which file a block says it is for: the words above it and in its fence, read without guessing.

A name counts when it stands alone (in any of the decorations models use) or in the fence's info string. A
paragraph of prose counts when it names exactly one file that is known. Similar names never count.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from agent_runner.edits.parse import FENCE

# A word with one of these endings is meant as a file, also where no such file is known.
_ENDINGS = (
    "py pyi pyx pxd pyw ipynb txt md rst json jsonl toml yaml yml cfg ini conf env sh bash "
    "zsh csv tsv xml html css js jsx ts "
    "tsx mjs c h cc cpp cxx hpp cu cuh rs go java kt rb php pl lua r jl swift scala sql tex "
    "bib lock log pt npz pkl bak orig old tmp"
)
_FILE = re.compile(
    rf"[^\s`'\"<>|*?]*[^\s`'\"<>|*?./\\]\.(?:{'|'.join(_ENDINGS.split())})", re.IGNORECASE
)
_PATH = re.compile(
    r"(?:~|\.{1,2}|[A-Za-z]:)?[/\\]?[\w.$@+-]+(?:[/\\][\w.$@+ -]+)+|[/~$][\w./\\~$-]+|\.git\b\S*"
)
_BARE = frozenset({"makefile", "dockerfile", "license", "readme"})
_LABEL = re.compile(
    r"(?:(?:in|to|edit|editing|modify|modifying|changes?(?: to)?|update|updating|updated|create|new)\s+)?"
    r"(?:the\s+)?(?:file\s*name|file\s*path|filename|filepath|path|file)\s*[:=]\s*"
    r"|(?:in|edit|editing|modify|modifying|changes? (?:to|in)|update|updating|updated|create|(?:new )?file)"
    r"\s*:?\s+",
    re.IGNORECASE,
)
_MARKS = re.compile(r"(?:#+|//+|--|[-*+•]|\d{1,3}[.)]|>|;+|%+)\s+|#+(?=\S)|//(?=\w)")
_NOTE = re.compile(r"\s+\((?:[^()]*)\)$|\s*,?\s+\(?(?:lines?|L)\s*\d[\d\s,–—-]*\)?$", re.IGNORECASE)
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_PAIRS = (("**", "**"), ("__", "__"), ("`", "`"), ("*", "*"), ('"', '"'), ("'", "'"), ("“", "”"), ("(", ")"),
          ("[", "]"), ("<", ">"), ("<!--", "-->"), ("/*", "*/"))  # fmt: skip
_LONGEST = 500  # characters of a line whose decorations are taken off
_SHELLS = frozenset({"bash", "sh", "shell", "console", "zsh", "shell-session", "terminal"})
_WORD = re.compile(r"[^\s`'\"<>|*?()\[\]{},;:!=]+")


@dataclass(frozen=True)
class Heading:
    """What stands above a block. `named`: alone on its line or in the fence; `mentioned`: known files in prose.

    `foreign` is a file that the prose names and that is not known. `conflict`: fence and line name
    different files.
    """

    named: str | None = None
    mentioned: tuple[str, ...] = ()
    foreign: str | None = None
    conflict: str | None = None


def read_heading(above: Sequence[str], known: Collection[str]) -> Heading:
    """Read the text between a block and the one before it. `known` are paths as the caller spells them."""
    in_fence: str | None = None
    index = len(above) - 1
    fences: list[str] = []
    while index >= 0:
        match = FENCE.fullmatch(above[index])
        if match:
            fences.append(match[2].strip())
            if len(fences) == 1:
                in_fence = name_in_info(fences[0], known)
            elif len(fences) > 2:
                break
        elif above[index].strip():
            break
        index -= 1
    if index < 0 or len(fences) > 2:
        return Heading(named=in_fence)
    paragraph = _paragraph(above, index)
    # Below a bare fence that is not the block's own there is the end of other fenced text, not prose.
    other = len(fences) == 2 and not fences[1]
    heading = _read_paragraph(paragraph, known, only_alone=other)
    if paragraph.opened_by in _SHELLS or (paragraph.opened_by is not None and not heading.named):
        heading = Heading()
    if in_fence is None:
        return heading
    if heading.named is not None and heading.named != in_fence:
        return Heading(named=in_fence, conflict=heading.named)
    return Heading(named=in_fence)


@dataclass(frozen=True)
class _Paragraph:
    lines: list[str]
    opened_by: str | None  # info string's first word of the fence directly above it


def _paragraph(above: Sequence[str], last: int) -> _Paragraph:
    first = last
    while first > 0 and above[first - 1].strip() and not FENCE.fullmatch(above[first - 1]):
        first -= 1
    opened_by = None
    if first > 0:
        match = FENCE.fullmatch(above[first - 1])
        words = match[2].split() if match else []
        opened_by = words[0].lower() if words else None
    return _Paragraph(list(above[first : last + 1]), opened_by)


def _read_paragraph(paragraph: _Paragraph, known: Collection[str], *, only_alone: bool) -> Heading:
    alone = name_alone(paragraph.lines[-1], known)
    if alone is not None:
        return Heading(named=alone)
    if only_alone:
        return Heading()
    mentioned: list[str] = []
    foreign: list[str] = []
    for word in _WORD.findall(" ".join(paragraph.lines)):
        cleaned = word.rstrip(".")
        path = match_known(cleaned, known)
        if path is not None:
            mentioned.append(path)
        elif _FILE.fullmatch(cleaned):
            foreign.append(cleaned)
    return Heading(
        mentioned=tuple(dict.fromkeys(mentioned)),
        foreign=foreign[-1] if foreign and not mentioned else None,
    )


def name_in_info(info: str, known: Collection[str]) -> str | None:
    """The file in a fence's info string: ```` ```python experiment.py ````, `python:a.py`, `title="a.py"`."""
    for word in info.replace("{", " ").replace("}", " ").split():
        value = word.split("=", 1)[-1].strip("\"'")
        after_colon = value.partition(":")[2]
        language = re.fullmatch(r"\w{2,}:(?!//).*", value)  # one letter would be a drive
        for candidate in (after_colon,) if language else (value,):
            if candidate in known and re.search(r"[./\\]", candidate):
                return candidate
            if _FILE.fullmatch(candidate) or _PATH.fullmatch(candidate):
                return candidate
    return None


def name_alone(line: str, known: Collection[str]) -> str | None:
    """The file that a line consists of, freed of decoration; None for prose."""
    text = line.strip()
    if len(text) > _LONGEST:  # no decoration is looked for, but a long path is still a path
        word = text.strip("*`#: ")
        return word if not re.search(r"\s", word) and _is_path(word) else None
    while True:
        if match_known(text, known) is not None or _is_path(text):
            return text
        shorter = _undecorate(text)
        if shorter == text:
            return None
        text = shorter


def match_known(name: str, known: Collection[str]) -> str | None:
    """`name` as one of the known paths: the same path, or a base name that only one of them has."""
    plain = name.replace("\\", "/") if "\\" in name else name
    while plain.startswith("./"):
        plain = plain[2:].lstrip("/")
    for candidate in (name, plain):
        if candidate and candidate in known:
            return candidate
    if not plain or "/" in plain:
        return None
    same = [path for path in known if path.endswith(plain) and path.rpartition("/")[2] == plain]
    return same[0] if len(same) == 1 else None


def _is_path(text: str) -> bool:
    whole = _FILE.fullmatch(text) or _PATH.fullmatch(text) or text.lower() in _BARE
    return bool(whole) and "://" not in text and not text.startswith(("//", "#", "/*", "-", "*"))


def _undecorate(text: str) -> str:
    """One layer of decoration less."""
    for opening, closing in _PAIRS:
        if (
            text.startswith(opening)
            and text.endswith(closing)
            and len(text) > len(opening + closing)
        ):
            return text[len(opening) : -len(closing)].strip()
    for pattern in (_MARKS, _LABEL):
        match = pattern.match(text)
        if match and match.end() < len(text):
            return text[match.end() :].strip()
    link = _LINK.fullmatch(text)
    if link:
        return link[1].strip()
    if text.endswith((":", "：", ",", "…")):
        return text[:-1].strip()
    note = _NOTE.search(text)
    if note and note.start() > 0:
        return text[: note.start()].strip()
    return text
