"""Collect the corpus and the labelled sets from Python and the Debian base of this machine.

Deterministic for one machine: files in sorted order, every shuffle seeded. Writes corpus.jsonl.gz,
datasets/ and SOURCES.md; `train.py` writes the model and MANIFEST.json.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

import sources as s

SPLITS = {"train": 500, "test": 140}
LEAST = {"train": 400, "test": 100}
_START = 100  # characters: held-out texts are looked for in the corpus by their beginnings
Classes = dict[str, Callable[[], Iterable[s.Source]]]

_AREAS = {
    "networking": "socket ssl http httplib httpservers http_cookies http_cookiejar urllib urllib2 urllib2net"
    " urllibnet urllib_response urlparse ftplib smtplib smtpd imaplib poplib nntplib telnetlib socketserver"
    " xmlrpc ipaddress selectors select asyncore asynchat wsgiref cgi netrc robotparser httplib webbrowser",
    "concurrency": "threading threading_local _threading_local multiprocessing _test_multiprocessing"
    " concurrent concurrent_futures asyncio queue sched subprocess thread threadsignals threadedtempfile"
    " context contextlib_async asyncgen coroutines fork_threading lock_tests",
    "text": "re string textwrap difflib html htmlparser json csv configparser email locale gettext shlex"
    " tokenize pprint unicode unicodedata str strtod format fstring stringprep reprlib codecs sre_parse"
    " sre_compile markupbase _markupbase mailbox mailcap quopri base64",
    "files": "os posixpath ntpath genericpath pathlib shutil tempfile glob fnmatch zipfile tarfile gzip bz2"
    " lzma fileinput filecmp io _pyio fileio bufio file file_eintr largefile stat mmap zipimport zipapp"
    " dbm shelve linecache posix fcntl zipfile64 nturl2path",
    "mathematics": "fractions decimal _pydecimal statistics random numbers math cmath complex int long"
    " float colorsys bisect heapq numeric_tower abstract_numbers pow int_literal strtod hash index cmath"
    " math_property long_future ieee754 generators bool",
}


def _python(area: str | None = None, *, tests: bool | None = None) -> Iterator[s.Source]:
    for source in s.python_sources():
        path = s.library_path(source)
        if tests is not None and s.is_test(path) != tests:
            continue
        if area is None or _module(path) in _AREAS[area].split():
            yield source


def _module(path: str) -> str:
    """test/test_json/test_dump.py and json/decoder.py are both of `json`."""
    first = re.sub(r"^test/", "", path).split("/")[0].removesuffix(".py")
    return first.removeprefix("test_")


def _c_sources() -> Iterator[s.Source]:
    packages = ("libc6-dev", "linux-libc-dev", "libpython3.11-dev", "libssl-dev", "zlib1g-dev")
    return s.debian_files("/usr/include", "**/*.h", packages=packages)


def _cpp_sources() -> Iterator[s.Source]:
    return s.debian_files("/usr/include/c++/12", "**/*", packages=("libstdc++-12-dev",))


def _perl_sources() -> Iterator[s.Source]:
    found = (
        s.debian_files(f, "**/*.p[ml]", s.without_pod)
        for f in ("/usr/share/perl/5.36.0", "/usr/share/perl5")
    )
    return (source for source in chain(*found) if "/unicore/" not in source.name)


def _tcl_sources() -> Iterator[s.Source]:
    folders = ("/usr/share/tcltk/tcl8.6", "/usr/share/tcltk/tk8.6")
    found = (s.debian_files(folder, f"**/*.{end}") for folder in folders for end in ("tcl", "tm"))
    return chain(*found)


def _changelogs() -> Iterator[s.Source]:
    return s.debian_files("/usr/share/doc", "*/changelog*.gz")


def _licences() -> Iterator[s.Source]:
    return s.debian_files("/usr/share/doc", "*/copyright")


SETS: dict[str, Classes] = {
    "programming_language": {
        "c": _c_sources,
        "cpp": _cpp_sources,
        "perl": _perl_sources,
        "python": lambda: _python(tests=False),
        "shell": s.shell_sources,
        "tcl": _tcl_sources,
    },
    "natural_language": {
        language: lambda language=language: s.catalogue_sources(language)
        for language in s.LANGUAGES
    },
    "document_kind": {
        "changelog": _changelogs,
        "docstring": s.docstring_sources,
        "licence": _licences,
        "manual_page": s.manual_sources,
    },
    "stdlib_topic": {area: lambda area=area: _python(area) for area in _AREAS},
    "code_role": {
        "library": lambda: _python(tests=False),
        "test": lambda: _python(tests=True),
    },
}

# Characters of the corpus by kind, from training sources only.
CORPUS: dict[str, tuple[int, Callable[[], Iterable[s.Source]]]] = {
    "python": (1_300_000, lambda: _python(tests=False)),
    "python tests": (700_000, lambda: _python(tests=True)),
    "language reference": (250_000, s.topic_sources),
    **{language: (260_000, SETS["natural_language"][language]) for language in s.LANGUAGES},
    **{kind: (350_000, source) for kind, source in SETS["document_kind"].items()},
    **{
        language: (450_000, SETS["programming_language"][language])
        for language in ("c", "cpp", "perl", "shell", "tcl")
    },
}


def in_turn(
    found: Iterable[s.Source], cut: Callable[[str], Iterator[str]], seed: str
) -> Iterator[tuple[s.Source, str]]:
    """Pieces of the sources, one of each in turn, so that no large file dominates."""
    rng = random.Random(seed)
    piles = [(source, list(cut(source.text))) for source in found]
    rng.shuffle(piles)
    for _, pile in piles:
        rng.shuffle(pile)
    while piles:
        piles = [(source, pile) for source, pile in piles if pile]
        for source, pile in piles:
            yield source, pile.pop()


def collect_set(name: str, classes: Classes) -> list[dict[str, str]]:
    """Rows of one set: equally many of every class in each split; no text twice, digits and marks aside.

    Raises:
        SystemExit: this machine has too little text of a class.
    """
    found: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    seen: set[str] = set()
    for label, load in classes.items():
        every = list(load())
        notices = label == "licence"
        for split, wanted in SPLITS.items():
            part = (source for source in every if source.split == split)
            cut = lambda text: s.pieces(text, 250, 400, notices=notices)  # noqa: B023,E731
            for source, text in in_turn(part, cut, f"{name} {label} {split}"):
                key = re.sub(r"[\W\d_]+", "", text.lower())
                if key not in seen:
                    seen.add(key)
                    row = {"split": split, "label": label, "text": text, "source": source.name}
                    found[split, label].append(row)
                if len(found[split, label]) == wanted:
                    break
    rows = []
    for split, least in LEAST.items():
        size = min(len(found[split, label]) for label in classes)
        if size < least:
            counts = {label: len(found[split, label]) for label in classes}
            raise SystemExit(f"{name}: {split} has {counts}; {least} of each are needed")
        rows += [row for label in classes for row in found[split, label][:size]]
    return rows


def collect_corpus(held_out: Iterable[str]) -> list[dict[str, str]]:
    """Documents from training sources; none holds a held-out text, as boilerplate shared by files would."""
    by_start: dict[str, list[str]] = defaultdict(list)
    for text in held_out:
        by_start[text[:_START]].append(text)

    def leaks(document: str) -> bool:
        places = range(len(document) - _START + 1)
        starts = (by_start.get(document[place : place + _START], ()) for place in places)
        return any(text in document for texts in starts for text in texts)

    rows = []
    for kind, (budget, load) in CORPUS.items():
        part = (source for source in load() if source.split == "train")
        used = 0
        for source, text in in_turn(
            part, lambda text: s.pieces(text, 1200, 2000), f"corpus {kind}"
        ):
            if leaks(text):
                continue
            rows.append({"text": text, "source": source.name, "kind": kind})
            used += len(text)
            if used >= budget:
                break
    random.Random("corpus").shuffle(rows)
    return rows


def write_jsonl(path: Path, rows: Iterable[dict[str, str]]) -> None:
    """Gzipped JSON lines without a time stamp, so that the same rows give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(gzip.compress(lines.encode(), 9, mtime=0))


def sources_page(sets: dict[str, list[dict[str, str]]], corpus: list[dict[str, str]]) -> str:
    """SOURCES.md: the sets and their counts, then every package with version, licence and files used."""
    lines = ["# Sources", "", *_INTRODUCTION, "", "## Sets", ""]
    lines += ["| set | class | train texts (files) | test texts (files) |", "|---|---|---|---|"]
    for name, rows in sets.items():
        for label in dict.fromkeys(row["label"] for row in rows):
            cells = []
            for split in SPLITS:
                part = [row for row in rows if (row["label"], row["split"]) == (label, split)]
                cells.append(f"{len(part)} ({len({row['source'] for row in part})})")
            lines.append(f"| `{name}` | {label} | {cells[0]} | {cells[1]} |")
    kinds = Counter(row["kind"] for row in corpus)
    characters = sum(len(row["text"]) for row in corpus)
    lines += ["", "## Corpus", "", f"{len(corpus)} documents, {characters:,} characters: "]
    lines[-1] += ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())) + "."
    used: dict[str, set[str]] = defaultdict(set)
    for row in chain(corpus, *sets.values()):
        used[_package(row["source"])].add(row["source"])
    versions = s.versions()
    lines += [
        "",
        "## Packages",
        "",
        "| package | version | licences | files | for example |",
        "|---|---|---|---|---|",
    ]
    for package, files in sorted(used.items()):
        example = min(files).removeprefix(f"{package}:")
        lines.append(
            f"| {package} | {versions.get(package, '')} | {s.licence(package)} | {len(files)} | `{example}` |"
        )
    return "\n".join(lines) + "\n"


def _package(source: str) -> str:
    return s.PYTHON if source.startswith(f"{s.PYTHON}/") else source.split(":")[0]


_INTRODUCTION = [
    "Every text comes from CPython (its library and tests) or from a package of Debian's main archive. Short",
    "excerpts; e-mail addresses are replaced by `<email>`. Each set's row names its source, as",
    "`package:path` or `cpython-version/Lib/path`. A source file (for translations: a catalogue, in all",
    "languages) is in the training split of every set or in the test split of every set; the corpus has",
    "training sources only. Licences are the short names in the package's own copyright file, which covers",
    "the whole package; the texts stay under the licences of the files they come from.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parents[1])
    folder: Path = parser.parse_args().folder
    sets = {}
    for name, classes in SETS.items():
        sets[name] = collect_set(name, classes)
        write_jsonl(folder / "datasets" / f"{name}.jsonl.gz", sets[name])
        print(name, Counter((row["label"], row["split"]) for row in sets[name]), flush=True)
    test_rows = (row for rows in sets.values() for row in rows if row["split"] == "test")
    corpus = collect_corpus(row["text"] for row in test_rows)
    write_jsonl(folder / "corpus.jsonl.gz", ({"text": row["text"]} for row in corpus))
    (folder / "SOURCES.md").write_text(sources_page(sets, corpus))
    print("corpus", Counter(row["kind"] for row in corpus), sum(len(row["text"]) for row in corpus))


if __name__ == "__main__":
    main()
