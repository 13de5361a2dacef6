"""Names of files in the words of a reply: alone on a line, in a fence's info string, or within prose.

A name is a known path, its base name where only one file has it, or a word that can only be a file. Similar
names never count.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

# A word with one of these endings is meant as a file, also where no such file is known.
_ENDINGS = (
    "py pyi pyx pxd pyw ipynb txt md rst json jsonl toml yaml yml cfg ini conf env properties sh bash zsh ps1 "
    "bat csv tsv parquet xml html css scss js jsx ts tsx mjs vue svelte c h cc cpp cxx hpp cu cuh rs go java "
    "kt rb php pl lua r jl swift scala dart zig nim hs ml ex exs erl proto graphql sql tex bib cmake mk gradle "
    "j2 lock log diff patch pt pth npz npy pkl h5 safetensors bin db sqlite png svg pdf zip gz bak orig old tmp"
)
_FILE = re.compile(
    rf"[^\s`'\"<>|*?]*[^\s`'\"<>|*?./\\]\.(?:{'|'.join(_ENDINGS.split())})", re.IGNORECASE
)
_ATTRIBUTE = re.compile(
    r"[A-Za-z_]\w*(?:\.\w+)*\.(?:lock|log|r|c|db|bin|zip|patch|diff|old|tmp)"
)  # math.log
_OUTSIDE = re.compile(  # what cannot be edited, but can only be meant as a path
    r"(?:\.\.?|~\w*|\$\w+|[A-Za-z]:)[/\\]\S*|\$[A-Z_]\w*|/[^\s/]+/\S+"
    r"|\S*[/\\]\.\.[/\\]\S*|(?:\S*[/\\])?(?:\.git|git~\d)(?:\s*[./\\:]\S*)?"
    r"|[\w.@+-]+(?:[/\\][\w.@+-]+)*[/\\]|\.[A-Za-z][\w.-]*",
    re.IGNORECASE,
)
_BEYOND = re.compile(
    rf"\S*\.(?:{'|'.join(_ENDINGS.split())})(?:[/\\]\S+|:{{1,2}}\$\w+)", re.IGNORECASE
)
_FOLDERS = re.compile(
    r"[\w.@+-]+(?:[/\\][\w.@+-]+)+"
)  # counts only where it is marked as code or as a file
_UNENDING = frozenset({"Makefile", "Dockerfile"})  # no ending, and no word of any sentence
_CAPITALS = _UNENDING | {"LICENSE", "README"}

_LONGEST = 500  # characters of a line whose decorations are taken off
_LAYERS = 12  # of decoration

_MARKS = re.compile(
    r"(?:#+|//+|-{2,3}|\+{3}|[-*+•]|\d{1,3}[.)]|>|;+|%+|\[[ xX]\]|[^\w\s\x00-\x7f“«]+)\s+|#+(?=\S)|//(?=\w)"
)
_FILE_LABEL = re.compile(
    r"(?:(?:in|to|edit|editing|modify|modifying|changes?(?: to)?|update|updating|updated|create|new)\s+)?"
    r"(?:the\s+)?(?:file\s*name|file\s*path|filename|filepath|path|file)\s*[:=]\s*",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"(?:step|block|edit|change|part|patch|file|fix)\s*#?\d+(?:\s*(?:/|of)\s*\d+)?\s*[-–—:.)]+\s*"
    r"|(?:in|edit|editing|modify|modifying|changes? (?:to|in)|update|updating|updated|create|(?:new )?file)"
    r"\s*:?\s+"
    r"|(?:and|now|then|next|finally|lastly|also|first|second|third|likewise|similarly|for|the|"
    r"here(?: is|['’]s)|edits? (?:to|in|for)|changes? for|fix(?:es)? (?:to|in|for))\s*[,:]?\s+",
    re.IGNORECASE,
)
_PAIRS = (("**", "**"), ("__", "__"), ("`", "`"), ("*", "*"), ("_", "_"), ('"', '"'), ("'", "'"), ("“", "”"),
          ("«", "»"), ("(", ")"), ("[", "]"), ("|", "|"), ("<!--", "-->"), ("/*", "*/"), ("<", ">"),
          ("===", "==="), ("---", "---"))  # fmt: skip
_WRAPS = (
    re.compile(r"\[([^\]]+)\]\([^)]*\)"),
    re.compile(
        r"<\w+\s[^<>]*\b(?:path|file|filename|name|src)\s*=\s*[\"']([^\"'<>]+)[\"'][^<>]*>(?:</\w+>)?"
    ),
    re.compile(r"<\w+>([^<>]+)</\w+>"),
    re.compile(r"([^#]+?)\s+#+"),
)
_TRACEBACK = re.compile(r"\s*File \"[^\"]*\", line \d")
_PLACE = re.compile(  # lines of the file, behind its name
    r"(?<!\s)(?:\s*+,)?\s++\(?(?:lines?|L)\s*\d[-\d\s,–—L]*\)?$|#L\d+(?:-L?\d+)?$|:\d+(?:[-–:]\d+)?$|::\w+$",
    re.IGNORECASE,
)
_REMARK = re.compile(r"(?<=\S)(?:\s+(?:[-–—]{1,3}|-{0,2}>|→)\s+|\s*—\s*|:\s+|\s+(?=\())")

_DENIAL = re.compile(
    r"\b(?:not|never|no|none|nothing|neither|nor|cannot|without|leav(?:e|es|ing)|left|keep(?:s|ing)?|kept|alone|"
    r"unchanged|untouched|unmodified|instead|rather|except|unlike|besides|apart|avoid|skip(?:s|ped)?|ignored?|"
    r"already)\b|n['’]t\b",
    re.IGNORECASE,
)
_SPARED = re.compile(
    r"\b(?:unchanged|untouched|unmodified|alone|as(?: it)? is|no (?:\w+ )?(?:changes?|edits?)|"
    r"nothing (?:to|needs|changes|else)|needs no\b|leave (?:it|this))\b"
    r"|(?:\b(?:not|never)|n['’]t) (?:be )?(?:chang|edit|modif|touch|need)",
    re.IGNORECASE,
)
_THE_REST = re.compile(  # of the file: what is said of it is not said of the file
    r"\b(?:(?:nothing|anything|everything|all) else|(?:the )?(?:rest|remainder))\b[^.,;:\n]*",
    re.IGNORECASE,
)
_RELATED_BEFORE = re.compile(
    r"\b(?:from|by|like|as|than|after|before|see|via|using|import(?:s|ed|ing)?|reads?|calls?|runs?|python3?|"
    r"against|versus|vs\.?)\s+(?:in\s+|the\s+|file\s+){0,2}[`\"'*_“«(\[]*$",
    re.IGNORECASE,
)
_RELATED_AFTER = re.compile(
    r"[`\"'*_”»)\]]*(?:,\s+line\s+\d|\s+(?:imports?|reads?|calls?|uses|runs?|expects|does|depends|stays?|remains?|"
    r"has run|(?:is|was) (?:imported|used|called|read|fine|right|ok))\b)",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?;:]\s+|\n\s*\n")
_SENTENCE = 300  # characters of it that are read
_FIRST_WORDS = re.compile(
    r"[^\w\n,;:]*(?:[\w'’-]+[^\w\n,;:.]+){0,4}[\w'’-]*"
)  # of the rest of the clause
_EDITING = re.compile(
    r"\b(?:edit|updat|chang|modif|adjust|appl(?:y|ies|ied)|rais|set|add|fix|replac|renam|remov|lower|increas|"
    r"decreas|tweak|patch|mov)\w*",
    re.IGNORECASE,
)
_NEAR = 40  # characters beside a name that tell how it is related

_WORD = re.compile(r"[^\s`'\"<>|*?()\[\]{},;:!=“”«»‘’—…→]+")
_SPAN = re.compile(
    r"`([^`\n]{1,300})`|\"([^\"\n]{1,300})\"|“([^“”\n]{1,300})”|«([^«»\n]{1,300})»|\*\*([^*\n]{1,300})\*\*"
)
_INFO_PART = re.compile(r"(?:(\w+)\s*=\s*)?(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'{}(),;]+))")
_NAMING_WORDS = 2  # of an info string: the language and the name
_CLASS = re.compile(r"\.(?!git$)[\w-]+")  # `{.python .numberLines}`
_LINES_FIRST = re.compile(r"\d+:\d+:")  # 12:15:path


def plain_path(path: str) -> str:
    """A path without the parts that change nothing: `./`, `//`, `/./`."""
    if "//" not in path and "./" not in path:
        return path
    parts = [part for part in path.split("/")[:-1] if part not in ("", ".")]
    root = "/" if path.startswith("/") else ""
    return root + "/".join([*parts, path.rpartition("/")[2]])


def as_listed(editable: Collection[str], files: Collection[str]) -> dict[str, None]:
    """The editable paths, each spelled as in `files` where it is there, and otherwise plainly."""
    if all(name in files for name in editable):
        return dict.fromkeys(editable)
    spelled = {plain_path(name): name for name in sorted(files)}
    plain = ((name, plain_path(name)) for name in editable)
    return dict.fromkeys(name if name in files else spelled.get(path, path) for name, path in plain)


class Known:
    """The files there are, to be asked for by the names that replies give them."""

    def __init__(self, names: Collection[str], editable: Collection[str]) -> None:
        self.editable = editable
        self._paths = (
            names if editable is names else {**dict.fromkeys(names), **dict.fromkeys(editable)}
        )

    def find(self, name: str) -> str | None:
        """The one file of this name; of several with this base name, the only editable one."""
        if name in self._paths:
            return name
        found = self.candidates(name)
        if len(found) > 1:
            found = [path for path in found if path in self.editable]
        return found[0] if len(found) == 1 else None

    def is_path(self, name: str) -> bool:
        """Whether this is the very path of a file."""
        return name in self._paths

    def candidates(self, name: str) -> list[str]:
        """What a name can mean: the path itself, however it is written, else the files with this base name."""
        if name in self._paths:
            return [name]
        plain = plain_path(name.replace("\\", "/") if "\\" in name else name)
        if plain in self._paths:
            return [plain]
        written, bases = self._index
        return written.get(plain) or bases.get(plain, [])

    @cached_property
    def _index(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """The files by their plain path, where they are written otherwise, and by their base name."""
        written: dict[str, list[str]] = {}
        bases: dict[str, list[str]] = {}
        for path in self._paths:
            plain = plain_path(path)
            if plain != path:
                written.setdefault(plain, []).append(path)
            base = plain.rpartition("/")[2]
            if base != plain:
                bases.setdefault(base, []).append(path)
        return written, bases


def _can_only_be_a_file(text: str, *, marked: bool) -> bool:
    """Whether no other thing than a file can be meant. `marked`: the text is in backticks or behind `File:`."""
    if "://" in text or text.startswith(("//", "#", "/*", "-", "*")):
        return False
    if any(form.fullmatch(text) for form in (_FILE, _OUTSIDE, _BEYOND)) or text in _UNENDING:
        return True
    return marked and _FOLDERS.fullmatch(text) is not None


def may_be_attribute(name: str) -> bool:
    """Whether a name may also be code that the text speaks of, such as `math.log`."""
    return _ATTRIBUTE.fullmatch(name) is not None


# ---------------------------------------------------------------- a line that is a name


def name_alone(line: str, known: Known) -> str | None:
    """The file that a line consists of, freed of decoration and of a remark behind it; None for prose."""
    text = line.strip()
    if _TRACEBACK.match(line):
        return None
    if text.strip("`*") in (".", ".."):
        return text.strip("`*")
    if len(text) > _LONGEST:  # no decoration is looked for, but a long path is still a path
        word = text.strip("*`#: ")
        single = not re.search(r"\s", word)
        return word if single and _can_only_be_a_file(word, marked=False) else None
    marked = remarked = False
    for _ in range(_LAYERS):
        if known.find(text) is not None and not (remarked and _is_word(text)):
            return text
        if _can_only_be_a_file(text, marked=marked):
            return text
        shorter = _undecorated(text)
        if shorter is None:
            shorter, remarked = _without_remark(text, known), True
        if not shorter:
            return None
        marked = marked or text.startswith("`") or _FILE_LABEL.match(text) is not None
        text = shorter
    return None


def _is_word(name: str) -> bool:
    """Whether a name may be an ordinary word of a sentence, such as `run`."""
    return "." not in name and "/" not in name and name not in _CAPITALS


def _undecorated(text: str) -> str | None:
    """One layer of decoration less; None where there is none."""
    for pattern in _WRAPS:
        match = pattern.fullmatch(text)
        if match:
            return match[1].strip()
    for opening, closing in _PAIRS:
        longer = len(text) > len(opening + closing)
        if longer and text.startswith(opening) and text.endswith(closing):
            return text[len(opening) : -len(closing)].strip()
    for pattern in (_MARKS, _FILE_LABEL, _LABEL):
        match = pattern.match(text)
        if match and match.end() < len(text):
            return text[match.end() :].strip()
    if text.endswith((":", "：", ",", "…", ".")):
        return text[:-1].strip()
    place = _PLACE.search(text)
    return text[: place.start()].strip() if place and place.start() else None


def _without_remark(text: str, known: Known) -> str | None:
    """The text before a remark such as ` — raise w`, unless that denies the name or names another file."""
    text = text.replace(":**", "**:")
    match = _REMARK.search(text)
    if match is None:
        return None
    remark = text[match.end() :]
    if denies(remark) or any(mention.clean and mention.path for mention in mentions(remark, known)):
        return None
    return text[: match.start()].strip()


# ---------------------------------------------------------------- an info string


def names_in_info(info: str, known: Known) -> list[str]:
    """The files in a fence's info string: ```` ```python experiment.py ````, `python:a.py`, `title="a.py"`."""
    if not info or (info.isalnum() and info not in _CAPITALS):  # a language
        return []
    if not _is_word(info) and known.find(info) is not None:
        return [info]
    _, *rest = re.split(r"[\s:]+", info, maxsplit=1)
    if rest and known.is_path(rest[0]):  # also one with blanks, or without an ending
        return rest
    found: list[str | None] = []
    words = 0
    for part in _INFO_PART.finditer(info):
        key, *values = part.groups()
        value = next(value for value in values if value is not None)
        if key is not None:
            found.append(_info_name(value, known))
        elif value.strip("#/-"):  # a word, and no comment sign
            words += 1
            # Words further on are text: the last of `python a b.py` is no name of its own.
            found.append(_info_name(value, known) if words <= _NAMING_WORDS else None)
    return [name for name in found if name is not None]


def _info_name(value: str, known: Known) -> str | None:
    if _CLASS.fullmatch(value) and known.find(value) is None:
        return None
    if _LINES_FIRST.match(value):
        value = value.split(":", 2)[2]
    elif re.match(r"\w{2,}:(?!//)", value):  # one letter would be a drive
        value = value.partition(":")[2]
    if _is_word(value):
        return None
    if known.find(value) is not None or _can_only_be_a_file(value, marked=False):
        return value
    return None


# ---------------------------------------------------------------- names within prose


@dataclass(frozen=True)
class Mention:
    """A file that prose names; `path` if it is known. `clean`: not as one to compare with, use or import."""

    name: str
    path: str | None
    clean: bool


def denies(text: str) -> bool:
    """Whether prose may say that a file is not the one to edit."""
    return _DENIAL.search(text) is not None


def spares(text: str) -> bool:
    """Whether prose says that a file stays as it is."""
    return _SPARED.search(_THE_REST.sub("", text)) is not None


def mentions(text: str, known: Known) -> Iterator[Mention]:
    """The files that a text names, in order. Ordinary words are names only in backticks, quotes or bold."""
    position = 0
    for span in _SPAN.finditer(text):
        yield from _plain_mentions(text, position, span.start(), known)
        position = span.end()
        whole = span[0].strip('`"“”«»*: ')
        path = known.find(whole)
        if path is not None:
            yield Mention(whole, path, _is_clean(text, *span.span()))
        else:
            # Part of a quoted name is not a name; bold text is prose.
            bold, blank = span[0].startswith("**"), " " in whole
            for mention in _plain_mentions(text, span.start(), span.end(), known):
                yield mention if bold or not blank else Mention(mention.name, mention.path, False)
    yield from _plain_mentions(text, position, len(text), known)


def _plain_mentions(text: str, start: int, end: int, known: Known) -> Iterator[Mention]:
    for match in _WORD.finditer(text, start, end):
        word = match[0]
        if "." not in word and "/" not in word and word not in _CAPITALS:
            continue
        name = word.rstrip(".").partition("#L")[0]
        path = known.find(name) if name else None
        if path is not None and not _is_word(name):
            yield Mention(name, path, _is_clean(text, *match.span()))
        elif _FILE.fullmatch(name) and not name.startswith("//"):
            yield Mention(name, None, False)


def _is_clean(text: str, start: int, end: int) -> bool:
    before, after = text[max(0, start - _NEAR) : start], text[end : end + _NEAR]
    if _RELATED_BEFORE.search(before) or _RELATED_AFTER.match(after):
        return False
    sentence = _SENTENCE_END.split(text[max(0, start - _SENTENCE) : start])[-1]
    return not denies(sentence) and not denies(_FIRST_WORDS.match(text, end)[0])  # type: ignore[index]


def announces(text: str) -> bool:
    """Whether prose says that an edit follows: it ends in a colon, or its last sentence speaks of editing."""
    last = _SENTENCE_END.split(text.strip())[-1] or text
    return text.rstrip().endswith((":", "：")) or _EDITING.search(last) is not None
