"""Where the texts come from: files of Python and of the Debian base, cleaned, with package and licence."""

from __future__ import annotations

import ast
import gettext
import gzip
import hashlib
import platform
import re
import struct
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

STDLIB = Path(sysconfig.get_path("stdlib"))
PYTHON = f"cpython-{platform.python_version()}"
LANGUAGES = ("de", "es", "fr", "it", "nl", "pl")
# A quarter of the sources is held out; one rule for all sets, so that no file is train in one and test in
# another. The salt is arbitrary.
_TEST_SHARE = 0.25
_SALT = "embedded-1"

_EMAIL = re.compile(
    r"<?[\w.+%-]+(?:@|\(at\)| at (?=[\w-]+\.(?:org|com|net|de)))[\w-]+(?:\.[\w-]+)+>?"
)
# The same, written so that machines should not find it: name[at]host.org, name at host dot org.
_HIDDEN_EMAIL = re.compile(
    r"<?\b[\w.+-]+\s?[\[(]\s?at\s?[\])]\s?[\w-]+(?:(?:\.|\s?[\[(]\s?dot\s?[\])]\s?|\sdot\s)[\w-]+)*>?"
    r"|<?\b[\w.+-]+(?:\sdot\s\w+)*\sat\s[\w-]+(?:\sdot\s[\w-]+)+>?",
    re.IGNORECASE,
)
_NOTICE = re.compile(
    r"copyright|licen[cs]e\b|warranty|free software foundation|runtime library exception",
    re.IGNORECASE,
)
# Packages of Debian whose maintainer writes from elsewhere; others without a debian.org or debian.net address
# may come from third parties' archives, under terms we cannot vouch for, and are passed over.
_ALSO_DEBIAN = {"e2fsprogs", "git", "git-man", "xz-utils"}


@dataclass(frozen=True)
class Source:
    """One file's clean text. `group` decides the split: sources of one group share it."""

    name: str
    package: str
    group: str
    text: str

    @property
    def split(self) -> str:
        digest = hashlib.sha256(f"{_SALT} {self.group}".encode()).digest()
        return "test" if digest[0] / 256 < _TEST_SHARE else "train"


def clean(text: str) -> str:
    """Addresses become <email>; form feeds, tabs and runs of blank lines are normalised."""
    text = _EMAIL.sub("<email>", text.replace("\r\n", "\n").replace("\f", "\n"))
    text = _HIDDEN_EMAIL.sub("<email>", text)
    text = re.sub(r"[ \t]+\n", "\n", text.expandtabs(4))
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n")


def _read(path: Path) -> str | None:
    """Text of a UTF-8 file, gzipped or not; None when it is neither."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


# --- Python ---------------------------------------------------------------------------------------


def _python_files() -> list[tuple[str, Path]]:
    """(path inside the library, file) of the library's own modules; no installed packages or tables."""
    unwanted = re.compile(
        r"^(site-packages|encodings|lib2to3/tests/data|pydoc_data|ensurepip|config-|_sysconfigdata|__phello__)"
        r"|/bad|badsyntax|bad_coding|_data/"
    )
    found = ((path.relative_to(STDLIB).as_posix(), path) for path in STDLIB.rglob("*.py"))
    return [(name, path) for name, path in sorted(found) if not unwanted.search(name)]


def is_test(name: str) -> bool:
    """Whether a path inside the library belongs to its tests."""
    return bool(re.search(r"(^|/)(tests?|idle_test)/|(^|/)test_", name))


@cache
def python_sources() -> tuple[Source, ...]:
    sources = []
    for name, path in _python_files():
        text = _read(path)
        if text:
            source = f"{PYTHON}/Lib/{name}"
            sources.append(Source(source, PYTHON, source, clean(text)))
    return tuple(sources)


def library_path(source: Source) -> str:
    """Path inside the library of a source of `python_sources`."""
    return source.name.split("/Lib/")[1]


def docstring_sources() -> Iterator[Source]:
    """The docstrings of every library module, in order."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for source in python_sources():
        if is_test(library_path(source)):
            continue
        nodes = (node for node in ast.walk(ast.parse(source.text)) if isinstance(node, kinds))
        texts = [text for node in nodes if (text := ast.get_docstring(node)) and len(text) > 60]
        if texts:
            yield Source(source.name, PYTHON, source.group, "\n\n".join(texts))


def topic_sources() -> Iterator[Source]:
    """The language reference kept for `help()`."""
    from pydoc_data.topics import topics

    for topic, text in sorted(topics.items()):
        name = f"{PYTHON}/Lib/pydoc_data/topics.py#{topic}"
        yield Source(name, PYTHON, name, clean(text))


# --- Debian ---------------------------------------------------------------------------------------


@cache
def debian_packages() -> dict[str, str]:
    """Version of every installed package that is of Debian's main archive, by its maintainer and section."""
    found = {}
    for entry in Path("/var/lib/dpkg/status").read_text().split("\n\n"):
        fields = dict(re.findall(r"^(\w+): (.*)$", entry, re.MULTILINE))
        name = fields.get("Package", "")
        ours = re.search(r"[@.]debian\.(org|net)", fields.get("Maintainer", ""))
        if (ours or name in _ALSO_DEBIAN) and "/" not in fields.get("Section", ""):
            found[name] = fields["Version"]
    return found


@cache
def owners() -> dict[str, str]:
    """Path -> package of Debian, from the package lists, with the merged /usr both ways."""
    result: dict[str, str] = {}
    for listing in sorted(Path("/var/lib/dpkg/info").glob("*.list")):
        package = listing.stem.split(":")[0]
        if package not in debian_packages():
            continue
        for line in listing.read_text().splitlines():
            result[line] = package
            if re.match(r"/(lib|bin|sbin)/", line):
                result["/usr" + line] = package
    return result


def debian_files(
    folder: str,
    pattern: str,
    change: Callable[[str], str] = str,
    packages: Iterable[str] | None = None,
) -> Iterator[Source]:
    """Packaged files under a folder, each content once; links are passed over."""
    seen: set[str] = set()
    chosen = None if packages is None else set(packages)
    for path in sorted(Path(folder).glob(pattern)):
        package = owners().get(str(path)) or _of_maintainer_script(path)
        if not package or (chosen is not None and package not in chosen):
            continue
        if path.is_symlink() or not path.is_file() or path.stat().st_size > 600_000:
            continue
        text = _read(path)
        digest = hashlib.sha256((text or "").encode()).hexdigest()
        if text and digest not in seen:
            seen.add(digest)
            name = f"{package}:{str(path).lstrip('/')}"
            yield Source(name, package, name, clean(change(text)))


def _of_maintainer_script(path: Path) -> str | None:
    package = path.stem.split(":")[0]
    inside = path.parent == Path("/var/lib/dpkg/info")
    return package if inside and package in debian_packages() else None


def shell_sources() -> Iterator[Source]:
    """Maintainer scripts and scripts whose first line names a shell."""
    info = "/var/lib/dpkg/info"
    places = [(info, "*.p*inst"), (info, "*.p*rm"), (info, "*.config"), ("/etc/init.d", "*")]
    places += [("/usr/lib/git-core", "git-*"), ("/usr/bin", "*"), ("/usr/sbin", "*")]
    places += [
        ("/usr/lib", "**/*.sh"),
        ("/usr/share", "**/*.sh"),
        ("/usr/share/bash-completion", "*/*"),
    ]
    for folder, pattern in places:
        for source in debian_files(folder, pattern):
            first = source.text.split("\n", 1)[0]
            if (
                re.match(r"#!.*\b(ba|da|k)?sh\b", first)
                or "bash-completion" in source.name
                or source.name.endswith(".sh")
            ):
                yield source


def without_pod(text: str) -> str:
    """Perl code alone: no embedded manual, nothing after the end marker."""
    text = re.split(r"^__(?:END|DATA)__$", text, maxsplit=1, flags=re.MULTILINE)[0]
    return re.sub(r"^=[a-z]\w*.*?(?:^=cut.*?$|\Z)", "", text, flags=re.MULTILINE | re.DOTALL)


def without_roff(text: str) -> str:
    """A manual page's text, roughly: requests and escapes removed, one paragraph per blank line."""
    lines = []
    for line in text.splitlines():
        if line.startswith(
            ('.\\"', "'\\\"", ".TH", ".ds", ".de", ".if", ".ie", ".el", ".nr", ".so")
        ):
            continue
        if re.match(r"[.'](PP|P|LP|TP|IP|HP|sp|Pp|br)\b", line):
            lines.append("")
            continue
        if line.startswith((".SH", ".SS")):
            line = line.replace('"', "")
        line = re.sub(r"^[.'][ ]*[A-Za-z]{1,2}\b ?", "", line)
        line = re.sub(r"\\f(?:\[\w*\]|\(\w\w|.)|\\[&%/,|^]|\\s[+-]?\d+|\\m(?:\[\w*\]|.)", "", line)
        line = re.sub(r"\\\((?:aq|cq|oq)|\\\[(?:aq|cq|oq)\]", "'", line)
        line = re.sub(r"\\\((?:lq|rq|dq)|\\\*\(C?[\"lr]q?", '"', line)
        line = (
            line.replace("\\-", "-").replace("\\e", "\\").replace("\\ ", " ").replace("\\(em", "--")
        )
        if not re.match(r"[.'{}\\]", line):
            lines.append(line)
    return "\n".join(lines)


def manual_sources() -> Iterator[Source]:
    for section in range(1, 9):
        for source in debian_files(f"/usr/share/man/man{section}", "*.gz", without_roff):
            if len(source.text) > 800:
                yield source


def catalogue_sources(language: str) -> Iterator[Source]:
    """Translated messages of one language by catalogue; a catalogue is one group in all languages."""
    for path in sorted(Path(f"/usr/share/locale/{language}/LC_MESSAGES").glob("*.mo")):
        package = owners().get(str(path))
        if not package or package.startswith("iso-codes") or package == "xkb-data":
            continue  # lists of names, not sentences
        try:
            with path.open("rb") as file:
                catalogue = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        except (OSError, UnicodeDecodeError, struct.error):
            continue
        messages = [
            clean(message)
            for key, message in catalogue.items()
            if key and key != message and len(re.findall(r"[^\W\d_]{3,}", message)) >= 3
        ]
        if messages:
            name = f"{package}:{str(path).lstrip('/')}"
            yield Source(name, package, f"catalogue {path.stem}", "\n".join(messages))


# --- Cutting --------------------------------------------------------------------------------------


def pieces(text: str, low: int, high: int, *, notices: bool = True) -> Iterator[str]:
    """Consecutive runs of whole lines of low to high characters; a longer run is cut at a space.

    notices: keep runs that speak of copyright or warranty (they give away where a file comes from).
    """
    run = ""
    for line in text.split("\n"):
        run = f"{run}\n{line}" if run else line
        if len(run) < low:
            continue
        if len(run) > high:
            cut = run.rfind(" ", low, high)
            run = run[: cut if cut > 0 else high]
        piece, run = run.strip("\n").rstrip(), ""
        letters = sum(character.isalpha() for character in piece)
        if (
            len(piece) >= low
            and letters > 0.45 * len(piece)
            and (notices or not _NOTICE.search(piece))
        ):
            yield piece


# --- Licences -------------------------------------------------------------------------------------

_PHRASES = {
    "LGPL": r"Lesser General Public License|common-licenses/LGPL",
    "GPL": r"GNU General Public License|common-licenses/GPL",
    "Artistic": r"Artistic Licen[cs]e|common-licenses/Artistic",
    "PSF": r"Python Software Foundation",
    "Tcl/Tk": r"hereby grant permission to use, copy, modify, distribute",
    "BSD": r"Redistribution and use in source and binary forms",
    "MIT": r"Permission is hereby granted, free of charge",
    "HPND": r"Permission to use, copy, modify,",
    "Info-ZIP": r"Info-ZIP license",
    "Apache-2.0": r"Apache License",
}

_NOT_NAMES = {"other", "ad-hoc"}


def licence(package: str) -> str:
    """Short names from a package's copyright file: its `License:` fields, or the licences it quotes."""
    if package == PYTHON:
        return "PSF-2.0"
    path = Path("/usr/share/doc") / package / "copyright"
    text = path.read_text(errors="replace") if path.is_file() else ""
    names = [name.strip() for name in re.findall(r"^License: *(\S[^\n]*)", text, re.MULTILINE)]
    # Some packages put the licence's own sentences, or nothing telling, where its short name belongs.
    names = [name for name in names if len(name) <= 40 and name.lower() not in _NOT_NAMES]
    if not names:
        names = [
            name for name, phrase in _PHRASES.items() if re.search(phrase, text, re.IGNORECASE)
        ]
    unique = list(dict.fromkeys(names))
    more = f" and {len(unique) - 4} more" if len(unique) > 4 else ""
    return (", ".join(unique[:4]) + more).replace("|", "/") or "see the package's copyright file"


def versions() -> dict[str, str]:
    """Package -> version, of Debian's packages and Python itself."""
    return debian_packages() | {PYTHON: platform.python_version()}
