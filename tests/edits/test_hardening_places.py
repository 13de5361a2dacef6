"""Where a block goes, and what stays as it is there (points 2 and 3 of the engine's task)."""

from __future__ import annotations

import pytest
from hardening import NAME, applied, block, changed, edit, fenced, refused

# (id, file, SEARCH, REPLACE, new file): every one must apply.
APPLIES = [
    ("exact", "a\nb\nc\n", "b\n", "B\n", "a\nB\nc\n"),
    (
        "exact beats another indentation",
        "def f():\n    v = 1\nv = 1\n",
        "v = 1\n",
        "v = 2\n",
        "def f():\n    v = 1\nv = 2\n",
    ),
    (
        "whole lines only",
        "lr = 0.15\nlr = 0.1\n",
        "lr = 0.1\n",
        "lr = 0.2\n",
        "lr = 0.15\nlr = 0.2\n",
    ),
    ("deletion", "a\nb\nc\n", "b\n", "", "a\nc\n"),
    ("deletion of everything", "a\n", "a\n", "", ""),
    ("insertion", "a\nc\n", "a\n", "a\nb\n", "a\nb\nc\n"),
    ("insertion above", "a\nc\n", "c\n", "b\nc\n", "a\nb\nc\n"),
    ("last blank line of REPLACE stays", "a\nb\n", "a\n", "A\n\n", "A\n\nb\n"),
    (
        "SEARCH lost the spaces at the ends",
        "a = 1  \nb = 2\n",
        "a = 1\nb = 2\n",
        "a = 1\nb = 3\n",
        "a = 1  \nb = 3\n",
    ),
    (
        "SEARCH has spaces at the ends",
        "a = 1\nb = 2\n",
        "a = 1 \nb = 2\t\n",
        "a = 1 \nb = 3\n",
        "a = 1\nb = 3\n",
    ),
    (
        "dedented",
        "if x:\n    a = 1\n    if y:\n        b = 1\n",
        "a = 1\nif y:\n    b = 1\n",
        "a = 1\nif y:\n    b = 2\n    c = 3\n",
        "if x:\n    a = 1\n    if y:\n        b = 2\n        c = 3\n",
    ),
    (
        "too deep",
        "a = 1\nif y:\n    b = 1\n",
        "    a = 1\n    if y:\n        b = 1\n",
        "    a = 2\n    if y:\n        b = 1\n",
        "a = 2\nif y:\n    b = 1\n",
    ),
    (
        "spaces for tabs",
        "if x:\n\ta = 1\n\tif y:\n\t\tb = 1\n",
        "    a = 1\n    if y:\n        b = 1\n",
        "    a = 1\n    if y:\n        b = 2\n        c = 3\n",
        "if x:\n\ta = 1\n\tif y:\n\t\tb = 2\n\t\tc = 3\n",
    ),
    (
        "tabs for spaces",
        "if x:\n    a = 1\n    if y:\n        b = 1\n",
        "\ta = 1\n\tif y:\n\t\tb = 1\n",
        "\ta = 1\n\tif y:\n\t\tb = 2\n",
        "if x:\n    a = 1\n    if y:\n        b = 2\n",
    ),
    (
        "dedented spaces for tabs",
        "if x:\n\tif y:\n\t\tb = 1\n",
        "if y:\n    b = 1\n",
        "if y:\n    b = 2\n    c = 3\n",
        "if x:\n\tif y:\n\t\tb = 2\n\t\tc = 3\n",
    ),
    (
        "four spaces for two",
        "if x:\n  a = 1\n  if y:\n    b = 1\n",
        "if x:\n    a = 1\n    if y:\n        b = 1\n",
        "if x:\n    a = 1\n    if y:\n        b = 2\n",
        "if x:\n  a = 1\n  if y:\n    b = 2\n",
    ),
    ("one blank line for two", "a\n\n\nb\nc\n", "a\n\nb\n", "a\n\nB\n", "a\n\n\nB\nc\n"),
    ("blank lines left out", "a\n\nb\nc\n", "a\nb\nc\n", "a\nb\nC\n", "a\n\nb\nC\n"),
    ("blank lines that are not there", "a\nb\nc\n", "a\n\nb\n", "a\n\nB\n", "a\nB\nc\n"),
    ("blank line above that is not there", "z\na\nb\n", "\na\n", "\nA\n", "z\nA\nb\n"),
    ("blank line below that is not there", "a\nb\n", "a\n\n", "A\n\n", "A\nb\n"),
    ("blank line at the end of the file", "a\nb\n", "b\n\n", "B\n\n", "a\nB\n"),
    (
        "line numbers",
        "a = 1\nb = 2\nc = 3\n",
        "   2 | b = 2\n   3 | c = 3\n",
        "   2 | b = 2\n   3 | c = 4\n",
        "a = 1\nb = 2\nc = 4\n",
    ),
    (
        "line numbers in SEARCH only",
        "a = 1\nb = 2\n",
        "1 | a = 1\n2 | b = 2\n",
        "a = 1\nb = 3\n",
        "a = 1\nb = 3\n",
    ),
    (
        "fences in the sections",
        "a = 1\nb = 2\n",
        "```python\na = 1\nb = 2\n```\n",
        "```python\na = 1\nb = 3\n```\n",
        "a = 1\nb = 3\n",
    ),
    (
        "pieces",
        "def f():\n    a = 1\n    b = 2\n    c = 3\n    return a\n\nx = 1\n",
        "def f():\n    a = 1\n...\n    return a\n",
        "def f():\n    a = 9\n...\n    return -a\n",
        "def f():\n    a = 9\n    b = 2\n    c = 3\n    return -a\n\nx = 1\n",
    ),
    (
        "pieces: only the last changes",
        "def f():\n    a = 1\n    b = 2\n    return a\n\nx = 1\n",
        "def f():\n    ...\n    return a\n",
        "def f():\n    ...\n    return b\n",
        "def f():\n    a = 1\n    b = 2\n    return b\n\nx = 1\n",
    ),
    (
        "a real ellipsis is text",
        "def f():\n    ...\n\ndef g():\n    pass\n",
        "def f():\n    ...\n",
        "def f():\n    return 1\n",
        "def f():\n    return 1\n\ndef g():\n    pass\n",
    ),
    (
        "unchanged lines keep the file's bytes",
        "a  \n\tb\nc\t\nd\n",
        "a\n\tb\nc\nd\n",
        "a\n\tb\nc\nD\n",
        "a  \n\tb\nc\t\nD\n",
    ),
]


@pytest.mark.parametrize(
    ("text", "search", "replace", "new"),
    [case[1:] for case in APPLIES],
    ids=[c[0] for c in APPLIES],
)
def test_applies(text: str, search: str, replace: str, new: str) -> None:
    assert (
        changed(
            edit(search, replace, info="", fence="````", name="t.txt").replace("t.txt", NAME), text
        )
        == new
    )


# (id, file, SEARCH, REPLACE, kinds): every one must be refused.
REFUSES = [
    ("part of a line", "max_x = 1\n", "x = 1\n", "x = 2\n", "no_match"),
    ("part of a line at its start", "lr = 0.15\n", "lr = 0.1\n", "lr = 0.2\n", "no_match"),
    ("twice", "a\nb\na\n", "a\n", "A\n", "ambiguous"),
    ("a lone bracket", "f(\n)\ng(\n)\n", ")\n", "))\n", "ambiguous"),
    ("overlapping", "a\na\na\n", "a\na\n", "b\n", "ambiguous"),
    (
        "twice at another indentation",
        "if x:\n    v = 1\nif y:\n    v = 1\n",
        "v = 1\n",
        "v = 2\n",
        "ambiguous",
    ),
    (
        "one word differs",
        "a = 1\nb = 2\nc = 3\n",
        "a = 1\nb = 5\nc = 3\n",
        "a = 1\nb = 6\nc = 3\n",
        "no_match",
    ),
    (
        "right ends, invented middle",
        "def f():\n    a\n    b\n    return 1\n",
        "def f():\n    q\n    return 1\n",
        "def f():\n    z\n    return 1\n",
        "no_match",
    ),
    ("smart quotes", 'a = "x"\n', "a = “x”\n", "a = “y”\n", "no_match"),
    ("spaces inside a line", "a  =  1\nb\n", "a = 1\n", "a = 2\n", "no_match"),
    ("case", "Abc\n", "abc\n", "abd\n", "no_match"),
    (
        "a line moved out of its block",
        "if a:\n    b(x)\nc()\n",
        "if a:\nb(x)\n",
        "if a:\nd(x)\n",
        "no_match",
    ),
    (
        "a line moved into a block",
        "if a:\n    c()\nb(x)\n",
        "if a:\n    c()\n    b(x)\n",
        "if a:\n    b(x)\n",
        "no_match",
    ),
    (
        "first line without its indentation",
        "if a:\n    c()\n    b(x)\n",
        "c()\n    b(x)\n",
        "c()\n    d(x)\n",
        "no_match",
    ),
    (
        "REPLACE shallower than the shift allows",
        "x = compute(a)\n",
        "    x = compute(a)\n",
        "y = 1\n    x = 2\n",
        "no_match",
    ),
    (
        "REPLACE shallower, by two",
        "def f(a):\n    x = compute(a)\n",
        "        x = compute(a)\n",
        "  y = 1\n        x = 2\n",
        "no_match",
    ),
    (
        "pieces: text after the last dots",
        "def f(a):\n    return a\n\ng()\n",
        "def f(a):\n...\n",
        "def f(a):\n...\n    log(a)\n",
        ["no_match", "malformed"],
    ),
    (
        "pieces: a piece is part of a line",
        "def f():\n    max_x = 1\n    return 1\n",
        "def f():\n...\nx = 1\n",
        "def f():\n...\nx = 2\n",
        "no_match",
    ),
    ("pieces: out of order", "a\nb\nc\nd\n", "c\n...\na\n", "C\n...\nA\n", "no_match"),
    (
        "pieces: one is not unique",
        "a\nx\nb\nx\n",
        "a\n...\nx\n",
        "a\n...\ny\n",
        ["no_match", "ambiguous"],
    ),
    ("pieces: fewer dots in REPLACE", "a\nb\nc\nd\n", "a\n...\nd\n", "a\nd\n", "no_match"),
    ("pieces: nothing but dots", "a\nb\n", "...\n", "...\nx\n", ["no_match", "malformed"]),
    ("pieces: dots and blanks", "a\nb\n", "  \n...\n\n", "  \n...\nx\n", ["no_match", "malformed"]),
    ("order of lines", "a\nb\n", "b\na\n", "x\n", "no_match"),
    ("a gap of real lines", "a\nx\nb\n", "a\nb\n", "a\nc\n", "no_match"),
    (
        "numbers that do not follow each other",
        "a = 1\nb = 2\n",
        "1 | a = 1\n7 | b = 2\n",
        "1 | a = 1\n7 | b = 3\n",
        "no_match",
    ),
]


@pytest.mark.parametrize(
    ("text", "search", "replace", "kind"), [c[1:] for c in REFUSES], ids=[c[0] for c in REFUSES]
)
def test_refuses(text: str, search: str, replace: str, kind: str | list[str]) -> None:
    refused(edit(search, replace, fence="````"), text, kind)


def test_later_blocks_see_the_work_of_earlier_ones() -> None:
    reply = fenced(block("a\n", "b\nc\n"), block("c\nz\n", "d\n"))
    assert changed(reply, "a\nz\n") == "b\nd\n"


def test_a_place_in_the_files_own_lines_wins_over_one_an_earlier_block_wrote() -> None:
    text = "def f():\n    x = 1\n    return x\n\nend = 1\n"
    first = block("end = 1\n", "def g():\n    x = 1\n    return x\n\nend = 1\n")
    second = block("    x = 1\n    return x\n", "    x = 2\n    return x\n")
    new = changed(fenced(first, second), text)
    assert new == text.replace("x = 1", "x = 2").replace(
        "end = 1\n", "def g():\n    x = 1\n    return x\n\nend = 1\n"
    )


def test_two_places_in_the_files_own_lines_stay_ambiguous_whatever_was_written() -> None:
    reply = fenced(block("c\n", "c\na\n"), block("a\n", "A\n"))
    outcome = refused(reply, "a\nb\na\nc\n", "ambiguous")
    assert outcome.problems[0].block == 2


def test_a_repeated_block_is_made_once() -> None:
    insertion = block("a\n", "a\nb\n")
    assert changed(fenced(insertion, insertion), "a\nc\n") == "a\nb\nc\n"
    change = block("a\n", "b\n")
    assert changed(fenced(change, change), "a\nc\n") == "b\nc\n"


def test_as_many_identical_blocks_as_places_change_all_of_them() -> None:
    change = block("a = 1\n", "a = 2\n")
    assert changed(fenced(change, change), "a = 1\nb\na = 1\n") == "a = 2\nb\na = 2\n"
    refused(fenced(change, change), "a = 1\nb\na = 1\na = 1\n", "ambiguous")


def test_repeats_are_counted_per_file() -> None:
    change = block("a = 1\n", "a = 2\n")
    files = {NAME: "a = 1\nb\na = 1\n", "other.py": "a = 1\n"}
    outcome = refused(fenced(change) + "\n" + fenced(change, name="other.py"), files, "ambiguous")
    assert outcome.problems[0].path == NAME


def test_the_same_block_for_two_files_is_made_in_both() -> None:
    change = block("a = 1\n", "a = 2\n")
    files = {NAME: "a = 1\n", "other.py": "a = 1\n"}
    reply = fenced(change) + "\n" + fenced(change, name="other.py")
    assert applied(reply, files) == {NAME: "a = 2\n", "other.py": "a = 2\n"}
