"""The looser tiers: what they find, what they leave alone, and the bytes they write (points 2 and 3)."""

from __future__ import annotations

import pytest
from edit_replies import edited, new_text, refusal, tier
from hypothesis import assume, given, settings
from hypothesis import strategies as st

MIXED_SPACES = "def a():\n    if a:\n        p = 1\n    if b:\n        q = 2\n    return p\n\n"
MIXED_TABS = "def a():\n\tif a:\n\t\tp = 1\n\tif b:\n\t\tq = 2\n\treturn p\n\n"
NESTED_TABS = "def f():\n\tfor i in a:\n\t\tif i:\n\t\t\tx = 1\n\treturn x\n"
NESTED = "def f():\n    for i in a:\n        if i:\n            x = 1\n    return x\n"
LABELS = 'd = {\n    1: "a",\n    2: "b",\n}\n'
GAP = "def f():\n    a = 1\n\n    b = 2\n"

# (id, file, SEARCH, REPLACE, new file): every one must apply.
APPLIES = [
    # REPLACE's own text looks numbered, SEARCH's numbers are a display's
    (
        "a key like a number, one line",
        'd = {\n    8080: "http",\n}\n',
        '2:     8080: "http",\n',
        '    8080: "https",\n',
        'd = {\n    8080: "https",\n}\n',
    ),
    (
        "a key like a number, first column",
        "a: 1\nx\nb: 2\n",
        "2: x\n",
        "80: x\n",
        "a: 1\n80: x\nb: 2\n",
    ),
    (
        "keys that count up, REPLACE as it stands",
        LABELS,
        '2 |     1: "a",\n3 |     2: "b",\n',
        '    1: "c",\n    2: "d",\n',
        LABELS.replace("a", "c").replace("b", "d"),
    ),
    (
        "keys that count up, both numbered",
        LABELS,
        '2:     1: "a",\n3:     2: "b",\n',
        '2:     1: "c",\n3:     2: "b",\n',
        LABELS.replace("a", "c"),
    ),
    (
        "keys within SEARCH's numbers, not where a display has its own",
        LABELS,
        '2:     1: "a",\n3:     2: "b",\n',
        '    2: "b",\n    3: "c",\n',
        'd = {\n    2: "b",\n    3: "c",\n}\n',
    ),
    (
        "more numbered lines than SEARCH",
        "a\nb\nc\n",
        "1: a\n2: b\n",
        "1: a\n2: x\n3: y\n4: b\n",
        "a\nx\ny\nb\nc\n",
    ),
    (
        "numbers right-aligned",
        "\n" * 8 + "a\nb\n",
        " 9: a\n10: b\n",
        " 9: a\n10: c\n",
        "\n" * 8 + "a\nc\n",
    ),
    (
        "numbered and dedented",
        "if z:\n    a\n    b\n",
        "2: a\n3: b\n",
        "2: a\n3: c\n",
        "if z:\n    a\n    c\n",
    ),
    ("tab after the number", "x\n\ty\n", "     2\t\ty\n", "     2\t\tz\n", "x\n\tz\n"),
    ("a bar's number need not be right", "a\nb\n", "7 | b\n", "7 | c\n", "a\nc\n"),
    ("the number tells equal lines apart", "v\nw\nv\n", "3: v\n", "3: u\n", "v\nw\nu\n"),
    # blank lines that REPLACE adds
    (
        "new method after a dedented one",
        "class A:\n    def f(self):\n        return 1\n",
        "def f(self):\n    return 1\n",
        "def f(self):\n    return 1\n\ndef h(self):\n    return 3\n",
        "class A:\n    def f(self):\n        return 1\n\n    def h(self):\n        return 3\n",
    ),
    (
        "new blank line at the end",
        "if z:\n    x\n    y\n",
        "x\n",
        "x\n\n",
        "if z:\n    x\n\n    y\n",
    ),
    ("new blank line, too deep", "x\ny\n", "    x\n    y\n", "    x\n\n    y\n", "x\n\ny\n"),
    (
        "new blank line, tabs",
        "if z:\n\tx\n\ty\n",
        "    x\n    y\n",
        "    x\n\n    y\n",
        "if z:\n\tx\n\n\ty\n",
    ),
    (
        "new blank line, other unit",
        NESTED,
        NESTED.replace("    ", "  "),
        NESTED.replace("    ", "  ") + "\nend\n",
        NESTED + "\nend\n",
    ),
    (
        "new blank line, numbered",
        "if z:\n    x\n    y\n",
        "2 | x\n3 | y\n",
        "x\n\ny\n",
        "if z:\n    x\n\n    y\n",
    ),
    # units
    (
        "spaces for tabs, a step of two levels",
        NESTED_TABS,
        "            x = 1\n    return x\n",
        "            x = 2\n    return x\n",
        NESTED_TABS.replace("1", "2"),
    ),
    (
        "two for four, a step of two levels",
        NESTED,
        "      x = 1\n  return x\n",
        "      x = 2\n  return x\n",
        NESTED.replace("1", "2"),
    ),
    (
        "tabs for spaces, a step of two levels",
        NESTED,
        "\t\t\tx = 1\n\treturn x\n",
        "\t\t\tx = 2\n\treturn x\n",
        NESTED.replace("1", "2"),
    ),
    (
        "one for four, three depths",
        NESTED,
        NESTED.replace("    ", " "),
        NESTED.replace("    ", " ").replace("1", "2"),
        NESTED.replace("1", "2"),
    ),
    (
        "a tab region among spaces",
        MIXED_SPACES + "def f():\n\tx = 1\n\treturn x\n",
        "    x = 1\n    return x\n",
        "    x = 2\n    return x\n",
        MIXED_SPACES + "def f():\n\tx = 2\n\treturn x\n",
    ),
    (
        "a nested tab region among spaces",
        MIXED_SPACES + "def f():\n\tx = 1\n\tif x:\n\t\ty = 2\n",
        "    x = 1\n    if x:\n        y = 2\n",
        "    x = 1\n    if x:\n        y = 3\n        z = 4\n",
        MIXED_SPACES + "def f():\n\tx = 1\n\tif x:\n\t\ty = 3\n\t\tz = 4\n",
    ),
    (
        "a space region among tabs",
        MIXED_TABS + "def f():\n    x = 1\n    return x\n",
        "\tx = 1\n\treturn x\n",
        "\tx = 2\n\treturn x\n",
        MIXED_TABS + "def f():\n    x = 2\n    return x\n",
    ),
    (
        "REPLACE deeper than SEARCH in blanks the file has not",
        "def f():\n\tx = 1\n",
        "def f():\n    x = 1\n",
        "    y = 2\n",
        "\ty = 2\n",
    ),
    # indentation and blank lines
    (
        "dedented, a blank line missing",
        GAP,
        "a = 1\nb = 2\n",
        "a = 1\nb = 6\n",
        GAP.replace("2", "6"),
    ),
    (
        "dedented, a blank line too many",
        "if z:\n    a\n    b\n",
        "a\n\nb\n",
        "a\n\nc\n",
        "if z:\n    a\n    c\n",
    ),
    (
        "too deep, another run of blanks",
        "if z:\n    a\n\n\n    b\n",
        "        a\n\n        b\n",
        "        a\n\n        c\n",
        "if z:\n    a\n\n\n    c\n",
    ),
    (
        "tabs in the file, a blank line missing",
        "if z:\n\ta\n\n\tif b:\n\t\tc\n",
        "    a\n    if b:\n        c\n",
        "    a\n    if b:\n        d\n",
        "if z:\n\ta\n\n\tif b:\n\t\td\n",
    ),
    (
        "dedented, a blank line missing, new nested lines",
        GAP,
        "a = 1\nb = 2\n",
        "a = 1\nif a:\n    b = 6\n",
        GAP.replace("    b = 2\n", "    if a:\n        b = 6\n"),
    ),
    (
        "dedented and blanks at the ends too",
        "class A:\n    def f(self):\n        a = 1  \n\n        b = 2\n",
        "def f(self):\n    a = 1\n    b = 2\n",
        "def f(self):\n    a = 1\n    b = 6\n",
        "class A:\n    def f(self):\n        a = 1  \n\n        b = 6\n",
    ),
    (
        "carriage returns, dedented, a blank line missing",
        GAP.replace("\n", "\r\n"),
        "a = 1\nb = 2\n",
        "a = 1\nb = 6\n",
        GAP.replace("2", "6").replace("\n", "\r\n"),
    ),
    # REPLACE has the file's blank lines where SEARCH has not
    (
        "SEARCH has one blank line, REPLACE the file's two",
        "a\n\n\nb\n",
        "a\n\nb\n",
        "a\n\n\nc\n",
        "a\n\n\nc\n",
    ),
    ("SEARCH has none, REPLACE the file's one", "a\n\nb\n", "a\nb\n", "z\n\nb\n", "z\n\nb\n"),
    ("SEARCH has two, REPLACE the file's one", "a\n\nb\n", "a\n\n\nb\n", "a\n\nc\n", "a\n\nc\n"),
]

# (id, file, SEARCH, REPLACE, kind): every one must be refused.
REFUSES = [
    (
        "a key taken for a number",
        "schedule = {\n    0: 0.1,\n    10: 0.01,\n}\nrates = [\n    0.001,\n]\n",
        "    20: 0.001,\n",
        "    20: 0.0001,\n",
        "no_match",
    ),
    (
        "keys taken for numbers",
        'names = [\n    "cat",\n    "dog",\n]\n',
        '    0: "cat",\n    1: "dog",\n',
        '    0: "cat",\n    1: "dog",\n    2: "emu",\n',
        "no_match",
    ),
    ("yaml keys taken for numbers", "- x\n  http\n", "  80: http\n", "  80: https\n", "no_match"),
    ("columns taken for numbers", "x\ny\n", "7\tx\n8\ty\n", "7\tx\n8\tz\n", "no_match"),
    ("a REPLACE numbered in part", "a\nb\n", "1 | a\n2 | b\n", "1 | a\nc\n2 | b\n", "no_match"),
    ("numbers that go back", "a\nb\n", "1 | a\n2 | b\n", "2 | a\n1 | c\n", "no_match"),
    (
        "numbered or not cannot be told",
        "a\n1: x\n",
        "2: 1: x\n",
        "2: y\n",
        "no_match",
    ),
    (
        "two places, one where REPLACE cannot go",
        "def f():\n    x = 1\n    y = 2\n\nif a:\n    if b:\n            x = 1\n            y = 2\n",
        "        x = 1\n        y = 2\n",
        "        x = 1\n        y = 2\n    z = 3\n",
        ("ambiguous", "no_match"),
    ),
    (
        "the same with a blank line missing",
        "def f():\n    x = 1\n\n    y = 2\n\ndef g():\n    if a:\n            x = 1\n\n            y = 2\n",
        "        x = 1\n        y = 2\n",
        "        x = 1\n        y = 2\n    z = 3\n",
        ("ambiguous", "no_match"),
    ),
    (
        "a tab place and a space place",
        "if a:\n    x = 1\nif b:\n\tx = 1\n",
        "x = 1\n",
        "x = 1\nif x:\n    y = 2\n",
        ("ambiguous", "no_match"),
    ),
    (
        "too deep, and a line left of it",
        "class A:\n    x = 1\n\nz = 0\n",
        "        x = 1\n",
        "        x = 1\n    def f(self):\n        pass\n",
        "no_match",
    ),
    (
        "dedented, blanks differ, two depths",
        "if a:\n    x\n\n    y\nif b:\n        x\n\n        y\n",
        "x\ny\n",
        "x\nz\n",
        "ambiguous",
    ),
    (
        "blanks differ, and the indents in different ways",
        "if a:\n    x\n\n        y\n",
        "x\ny\n",
        "x\nz\n",
        "no_match",
    ),
    (
        "REPLACE may be in the file's depth already",
        "if a:\n    x\n\n    y\n",
        "x\ny\n",
        "    z\n",
        "no_match",
    ),
]


@pytest.mark.parametrize(
    ("text", "search", "replace", "new"),
    [case[1:] for case in APPLIES],
    ids=[c[0] for c in APPLIES],
)
def test_applies(text: str, search: str, replace: str, new: str) -> None:
    assert new_text(edited(text, search, replace)) == new


@pytest.mark.parametrize(
    ("text", "search", "replace", "kind"), [c[1:] for c in REFUSES], ids=[c[0] for c in REFUSES]
)
def test_refuses(text: str, search: str, replace: str, kind: str | tuple[str, ...]) -> None:
    kinds = (kind,) if isinstance(kind, str) else kind
    assert refusal(edited(text, search, replace)).kind in kinds


def test_a_plain_difference_in_blank_lines_goes_before_one_in_indentation_too() -> None:
    text = "if z:\n    a\n\n    b\na\n\nb\n"
    outcome = edited(text, "a\nb\n", "a\nc\n")
    assert tier(outcome) == "blank lines"
    assert new_text(outcome) == "if z:\n    a\n\n    b\na\n\nc\n"


@pytest.mark.parametrize("count", [99, 100, 101, 1500])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("search", "replace"),
    [
        ("longest line  \nend\n", "longest line  \nfin\n"),
        ("    longest line\n    end\n", "    longest line\n    fin\n"),
        ("longest line\n\nend\n", "longest line\n\nfin\n"),
        ("    longest line\n\n    end\n", "    longest line\n\n    fin\n"),
    ],
    ids=["trailing", "indentation", "blank lines", "both"],
)
def test_a_text_that_repeats_itself_is_read_as_any_other(
    search: str, replace: str, ending: str, count: int
) -> None:
    """Few places of the longest line are looked at one by one, many by way of the whole text."""
    text = ending.join([*["longest line", "other"] * count, "longest line", "end", ""])
    want = ending.join([*["longest line", "other"] * count, "longest line", "fin", ""])
    assert new_text(edited(text, search, replace)) == want


# ---------------------------------------------------------------- two differences at once

Nested = list[tuple[int, str] | None]  # (level, text); None: a blank line


@st.composite
def nested_edit(draw: st.DrawFn) -> tuple[Nested, int, int, Nested]:
    """Code with blank lines in it, a run of it that begins and ends with text, and what takes its place."""
    lines: Nested = []
    level = 0
    for index in range(draw(st.integers(4, 16))):
        if lines and lines[-1] is not None and draw(st.integers(0, 3)) == 0:
            lines += [None] * draw(st.integers(1, 2))
        level = draw(st.integers(0, level + 1)) if lines else 0
        # Some lines stand in several places.
        lines.append((level, f"line{index if draw(st.booleans()) else index % 3}"))
    filled = [index for index, line in enumerate(lines) if line is not None]
    first = draw(st.integers(0, len(filled) - 1))
    last = draw(st.integers(first, min(len(filled) - 1, first + 6)))
    start, stop = filled[first], filled[last] + 1
    new = list(lines[start:stop])
    base = min(line[0] for line in new if line is not None)
    for index in range(draw(st.integers(1, 3))):
        # After a line, so that no blank lines stand beside it whose side would be a matter of taste.
        at = draw(st.sampled_from([i + 1 for i, line in enumerate(new) if line is not None]))
        above = new[at - 1]
        assert above is not None
        new.insert(at, (draw(st.integers(base, above[0] + 1)), f"new{index}"))
    return lines, start, stop, new


@settings(max_examples=600, deadline=None)
@given(nested_edit(), st.sampled_from(["  ", "    ", "\t"]), st.integers(0, 4), st.data())
def test_another_depth_and_other_blank_lines_give_the_same_or_nothing(
    case: tuple[Nested, int, int, Nested], unit: str, depth: int, data: st.DataObject
) -> None:
    lines, start, stop, new = case
    old = lines[start:stop]
    base = min(line[0] for line in old if line is not None)

    def render(part: Nested, move: int = 0) -> str:
        return "".join(
            "\n" if line is None else f"{unit * (line[0] + move)}{line[1]}\n" for line in part
        )

    # The same blank lines are left out, or put in, after the same lines of both sections.
    after = {line: data.draw(st.integers(0, 2)) for line in old if line is not None}

    def respaced(part: Nested) -> Nested:
        spaced: Nested = []
        for line in part:
            if line is not None:
                spaced += [line, *[None] * after.get(line, 0)]
        while spaced and spaced[-1] is None:
            spaced.pop()
        return spaced

    search, replace = render(respaced(old), depth - base), render(respaced(new), depth - base)
    assume(search != replace)
    outcome = edited(render(lines), search, replace)
    if not outcome.applied:
        return
    want = render([*lines[:start], *new, *lines[stop:]])
    keys = [line for line in lines if line is not None]
    texts = [line for line in old if line is not None]
    got = new_text(outcome)
    # Where the run stands several times but for its depth, another one may be the exact match.
    stands = sum(
        [text for _, text in keys[at : at + len(texts)]] == [text for _, text in texts]
        for at in range(len(keys))
    )
    if stands == 1:
        assert [line for line in got.split("\n") if line] == [
            line for line in want.split("\n") if line
        ]
        assert not any(line.isspace() for line in got.split("\n"))


def test_a_piece_between_dots_that_fits_twice_is_ambiguous_wherever_it_stands() -> None:
    text = "a\nx\nc\ny\nc\nz\nb\n"
    outcome = edited(text, "a\n...\nc\n...\nb\n", "a\n...\nC\n...\nb\n")
    problem = refusal(outcome)
    assert problem.kind == "ambiguous" and problem.lines == [3, 5]


@pytest.mark.parametrize("shift", ["", "    "])
def test_pieces_between_dots_move_together(shift: str) -> None:
    text = "class A:\n  def f(self):\n    x = 1\n    y = 2\n    return x\n\n  def g(self):\n    return 1\n"
    search = f"{shift}def f(self):\n{shift}  x = 1\n{shift}  ...\n{shift}  return x\n"
    replace = search.replace("return x", "return y").replace("x = 1", "x = 3")
    outcome = edited(text, search, replace)
    assert outcome.applied, outcome.message
    assert outcome.files["notes.txt"] == text.replace("return x", "return y").replace(
        "x = 1", "x = 3"
    )


def test_pieces_between_dots_that_moved_apart_are_refused() -> None:
    text = "if a:\n    x = 1\n    y = 2\nif b:\n        z = 3\n"
    search = "x = 1\n...\nz = 3\n"
    assert refusal(edited(text, search, "x = 2\n...\nz = 4\n")).kind == "no_match"


@pytest.mark.parametrize("dots", ["...", "    ...", "…", "# ...", "    # ...", "    # …", "// ..."])
def test_dots_may_stand_in_a_comment_of_their_own(dots: str) -> None:
    text = "def f(x):\n    y = x\n    z = y\n    return z\n"
    search, replace = f"def f(x):\n{dots}\n    return z\n", f"def f(a):\n{dots}\n    return z\n"
    assert new_text(edited(text, search, replace)) == text.replace("f(x)", "f(a)")
    # In REPLACE alone they leave out what they stand for.
    outcome = edited(text, "def f(x):\n    y = x\n    z = y\n", f"def f(a):\n{dots}\n", "f.py")
    assert refusal(outcome).kind == "malformed"
