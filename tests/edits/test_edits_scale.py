"""What large or repetitive texts cost: bounds on work and memory, never on time, and what stays right there."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import product
from typing import Any

import pytest
from edit_replies import block, edited, new_text, refusal, tier
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runner.edits import apply_reply, draft, indent, replace
from agent_runner.edits.already import already_there
from agent_runner.edits.draft import Draft
from agent_runner.edits.lines import find_runs
from agent_runner.edits.places import Part, find_places
from agent_runner.edits.runs import exact_places

NAME = "notes.txt"
PLACES = 1000


class Line(str):
    """A line that counts how often it is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Line.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


class Text(str):
    """A text that counts the characters that are copied from it."""

    copied = 0

    def __getitem__(self, index: Any) -> str:
        found = str.__getitem__(self, index)
        Text.copied += len(found)
        return found


@pytest.fixture(autouse=True)
def _nothing_counted() -> Iterator[None]:
    Line.compared = Text.copied = 0
    yield


# ---------------------------------------------------------------- REPLACE at many places

NEW = [f"y{number} = 2" for number in range(2000)]
# (id, SEARCH, file, the lines of REPLACE, the markers' indent)
MANY = [
    ("one depth", "x = 1\n", "    x = 1\n" * PLACES, NEW, ""),
    (
        "a depth of its own each",
        "x = 1\n",
        "".join(" " * (number + 1) + "x = 1\n" for number in range(PLACES)),
        NEW,
        "",
    ),
    ("blank lines", "x = 1\n\nz\n", "x = 1\nz\n" * PLACES, NEW, ""),
    ("blank lines and depth", "x = 1\n\nz\n", "  x = 1\n  z\n" * PLACES, NEW, ""),
    (
        "blank lines in REPLACE",
        "x = 1\n\nz\n",
        "  x = 1\n\n\n  z\n" * PLACES,
        ["x = 1", "", "", "z", *NEW],
        "",
    ),
    ("two readings", "x = 1\n", "    x = 1\n" * PLACES, NEW, "  "),
    (
        "two readings, a depth of its own each",
        "x = 1\n",
        "".join(" " * (number + 3) + "x = 1\n" for number in range(PLACES)),
        NEW,
        "  ",
    ),
]


def _reply(search: str, lines: list[str], margin: str) -> str:
    reply = block(search, "".join(f"{line}\n" for line in lines), name=None)
    return f"{NAME}\n" + "".join(
        margin + line if line.strip() else line for line in reply.splitlines(True)
    )


@pytest.mark.parametrize(
    ("search", "text", "lines", "margin"),
    [case[1:] for case in MANY],
    ids=[case[0] for case in MANY],
)
def test_replace_is_not_mapped_for_each_of_many_places(
    search: str, text: str, lines: list[str], margin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    plain = indent.indent_of

    def counted(line: str) -> str:
        nonlocal calls
        calls += 1
        return plain(line)

    monkeypatch.setattr(indent, "indent_of", counted)
    tracemalloc.start()
    try:
        outcome = apply_reply(_reply(search, lines, margin), {NAME: text})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refusal(outcome).kind == "ambiguous"
    assert calls < 20 * (PLACES + len(lines))  # each place by itself: 2,000,000
    assert peak < 30_000_000  # each place with a list of its own: more than 160,000,000


def test_readings_that_write_the_same_at_a_place_count_once() -> None:
    reply = _reply("x = 1\n", ["if a:", "    b = 1", ""], "  ")
    outcome = apply_reply(reply, {NAME: "a\n    x = 1\n"})
    assert new_text(outcome) == "a\n    if a:\n        b = 1\n\n"


def test_readings_that_write_something_else_at_a_place_count_both() -> None:
    readings = [(("x = 1",), ("y = 1", "z = 2")), (("x = 1",), ("y = 1", "    z = 2"))]
    hits = find_places(Draft("a\n    x = 1\n"), readings)
    assert [[*hit.parts[0].mapped] for hit in hits] == [
        ["    y = 1", "    z = 2"],
        ["    y = 1", "        z = 2"],
    ]


# ---------------------------------------------------------------- SEARCH beside REPLACE

COSTLY = [
    ("a repeated line", ["q", *["x"] * 498], ["r", *["x", "y"] * 249]),
    ("no line repeated", ["q", *map(str, range(3000))],
     ["r", *(line for n in range(3000) for line in (str(n), "y"))]),
    ("turned round", ["q", *map(str, range(3000))], ["r", *map(str, reversed(range(3000)))]),
    ("blank lines", ["q", *(line for n in range(1000) for line in (str(n), ""))],
     ["r", *(line for n in range(1000) for line in (str(n), "y", ""))]),
    ("no seam", ["a", "b"] * 400, ["b", "c", "a"] * 300),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new"), [case[1:] for case in COSTLY], ids=[c[0] for c in COSTLY])
def test_aligning_search_and_replace_has_a_bound(
    old: list[str], new: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0

    class Counting(SequenceMatcher[str]):
        def find_longest_match(self, alo: int = 0, ahi: Any = None, blo: int = 0, bhi: Any = None):
            nonlocal steps
            steps += sum(1 + len(self.b2j.get(line, ())) for line in self.a[alo:ahi])
            return super().find_longest_match(alo, ahi, blo, bhi)

    monkeypatch.setattr(replace, "SequenceMatcher", Counting)
    text = "".join(f"{line}\n" for line in old)
    wanted = "".join(f"{line}\n" for line in new)
    assert new_text(edited(text, text, wanted)) == wanted
    assert steps <= replace._WORK


def test_a_long_block_leaves_its_unchanged_lines_alone() -> None:
    """They keep the blanks that SEARCH does not have, also where SEARCH is too long to be aligned at once."""
    lines = [line for number in range(3000) for line in (f"a{number}", "")]
    text = "first\n" + "".join(f"{line}  \n" for line in lines) + "last\n"
    search = "first\n" + "".join(f"{line}\n" for line in lines) + "last\n"
    change = search.replace("first", "1st").replace("a2000\n", "b\n").replace("last", "end")
    outcome = edited(text, search, change)
    wanted = text.replace("first", "1st").replace("a2000  \n", "b\n").replace("last", "end")
    assert new_text(outcome) == wanted and tier(outcome) == "trailing whitespace"


@settings(max_examples=200)
@given(st.lists(st.sampled_from("abcdef")), st.lists(st.sampled_from("abcdef")))
def test_a_block_becomes_its_replace_whatever_may_be_compared(
    old: list[str], new: list[str]
) -> None:
    for work in (0, 20, replace._WORK):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(replace, "_WORK", work)
            made: list[str] = []
            at = 0
            for tag, i1, i2, j1, j2 in replace._opcodes(old, new):
                assert i1 == at and (tag != "equal" or old[i1:i2] == new[j1:j2] != [])
                made += new[j1:j2]
                at = i2
            assert (made, at) == (new, len(old))


# ---------------------------------------------------------------- runs of lines


def test_a_run_is_looked_for_in_linear_work() -> None:
    keys = [Line("x = 1") for _ in range(5000)]
    assert find_runs(keys, [*["x = 1"] * 1999, "y"]) == []
    assert Line.compared <= len(keys) + 2000  # line by line: millions


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["a", "", "b"])), st.lists(st.sampled_from(["a", "", "b"])))
def test_runs_are_found_where_they_stand(keys: list[str], wanted: list[str]) -> None:
    places = [n for n in range(len(keys)) if keys[n : n + len(wanted)] == wanted] if wanted else []
    assert find_runs(keys, wanted) == places
    assert find_runs(keys, wanted, 2) == places[:2]


# ---------------------------------------------------------------- blank lines


def test_blank_lines_of_replace_are_not_looked_for_in_search_one_by_one() -> None:
    count = 500
    search = [Line(f"a{number}") for number in range(count)]
    new = [Line(line) for number in range(count) for line in (f"a{number}", "   ")]
    (hit,) = find_places(Draft("".join(f"  a{n}\n" for n in range(count))), [(search, new)])
    assert (hit.tier, hit.parts[0].mapped[1]) == ("indentation", "     ")
    assert Line.compared < 20 * count  # each blank line with each of SEARCH: 250,000


def test_the_lines_beside_a_gap_are_not_looked_for_in_replace_one_by_one() -> None:
    count = 500
    search = [Line(line) for number in range(count) for line in (f"a{number}", "")][:-1]
    new = [Line(line) for number in range(count) for line in (f"a{number}", "", "")]
    text = "".join(f"a{number}\n\n\n" for number in range(count))
    (hit,) = find_places(Draft(text), [(search, new)])
    assert hit.tier == "blank lines" and hit.parts[0].replace == [*search, "", ""]
    assert Line.compared < 20 * count  # each gap with all lines above it: 750,000


def test_two_gaps_that_are_one_in_replace_stay_apart() -> None:
    search, new = ("a", "", "b", "e", "", "", "", "d"), ("a", "", "", "d")
    text = "a\n\n\nb\ne\n\n\n\nd\n" + "a\n\nb\ne\n\n\nd\n"
    hits = find_places(Draft(text), [(search, new)])
    assert [[*hit.parts[0].replace] for hit in hits] == [["a", "", "d"], ["a", "", "", "", "d"]]


# ---------------------------------------------------------------- made already


def test_the_rest_of_the_text_is_not_copied_for_each_place_in_replace() -> None:
    here = Draft("")
    here.text = Text("y\n" * 5000 + "k\n" + "z\n" * 5000)
    part = Part(10_000, 10_002, ["k"], ["k"] * 300, ["k"] * 300)
    assert already_there(here, part, ["k\n" * 300], but_for_blanks=False) is None
    assert Text.copied < 1000  # for each place: 3,000,000


def test_an_edit_at_the_end_of_a_text_without_a_last_line_feed_stands_there_already() -> None:
    assert refusal(edited("a\nb", "b\n", "a\nb\n")).kind == "noop"


def test_a_replace_longer_than_search_that_begins_with_it() -> None:
    """SEARCH stands nowhere, as its indents do not fit, and REPLACE has all of its lines and one more."""
    problem = refusal(edited("a = 1\nx\nx\n", "a = 1\n  x\n", "a = 1\nx\nx\n"))
    assert problem.kind == "no_match"


# ---------------------------------------------------------------- line endings


def test_one_other_line_ending_does_not_make_the_line_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def made(text: str) -> None:
        raise AssertionError("the line table was made")

    monkeypatch.setattr(draft, "LineTable", made)
    text = "a\r\n" + "b\n" * 100 + "c\nd\n"
    (hit,) = find_places(Draft(text), [(("c", "d"), ("e",))])
    assert (hit.tier, text[hit.start : hit.end]) == ("exact", "c\nd\n")
    (hit,) = find_places(Draft(text), [(("a", "b"), ("e",))])
    assert (hit.tier, text[hit.start : hit.end]) == ("exact", "a\r\nb\n")


@pytest.mark.parametrize("endings", [*product(("\n", "\r\n"), repeat=2)])
def test_places_of_all_kinds_of_endings_count(endings: tuple[str, str]) -> None:
    first, second = endings
    place = f"a{first}b{second}"
    text = f"x\n{place}x\r\n"
    assert new_text(edited(text, "a\nb\n", "a\nc\n")) == f"x\n{place.replace('b', 'c')}x\r\n"
    for other in ("a\nb\n", "a\r\nb\r\n", "a\r\nb\n", "a\nb\r\n", "a\nb"):
        problem = refusal(edited(text + other, "a\nb\n", "a\nc\n"))
        assert (problem.kind, problem.lines) == ("ambiguous", [2, 5])


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.sampled_from(["a", "", "b", "a\r"]), st.sampled_from(["\n", "\r\n"]))),
    st.sampled_from(["", "a", "b", "\r"]),
    st.lists(st.sampled_from(["a", "", "b", "a\r"]), min_size=1, max_size=4),
)
def test_exact_places_are_those_of_the_lines(
    rows: list[tuple[str, str]], last: str, wanted: list[str]
) -> None:
    text = "".join(line + ending for line, ending in rows) + last
    whole = [*rows, (last, "")] if last else rows
    # "a\r" with a line feed is "a" with a carriage return and a line feed.
    lines = [f"{line}{ending}".removesuffix("\n").removesuffix("\r") for line, ending in whole]
    lines = [*lines[:-1], last] if last else lines
    starts = [sum(len(line + ending) for line, ending in whole[:n]) for n in range(len(whole) + 1)]
    count = len(wanted)
    expected = [
        (starts[n], starts[n + count])
        for n in range(len(lines) - count + 1)
        if lines[n : n + count] == wanted
    ]
    assert exact_places(text, wanted) == expected
