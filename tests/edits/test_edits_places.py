"""Where a SEARCH stands: the tiers, uniqueness, and whole lines only."""

from __future__ import annotations

import pytest
from edit_replies import block, edited, new_text, refusal, tier

from agent_runner.edits import apply_reply

TEXT = """\
class Layer:
    def __init__(self, size):
        self.size = size

    def forward(self, x):
        if self.size:
            x = x * self.size
        return x


def build(size):
    return Layer(size)
"""


@pytest.mark.parametrize(
    ("wanted", "search", "replace", "old", "new"),
    [
        (
            "exact",
            "    return Layer(size)\n",
            "    return None\n",
            "    return Layer(size)\n",
            "    return None\n",
        ),
        (
            "trailing whitespace",
            "def build(size):  \n    return Layer(size)\t\n",
            "def build(size):  \n    return None\n",
            "    return Layer(size)\n",
            "    return None\n",
        ),
        (
            "indentation",
            "if self.size:\n    x = x * self.size\nreturn x\n",
            "if self.size:\n    x = x + self.size\n    x = x * 2\nreturn x\n",
            "            x = x * self.size\n",
            "            x = x + self.size\n            x = x * 2\n",
        ),
        (
            "indentation",
            "        def forward(self, x):\n            if self.size:\n",
            "        def forward(self, x):\n            x = abs(x)\n            if self.size:\n",
            "        if self.size:\n",
            "        x = abs(x)\n        if self.size:\n",
        ),
        (
            "blank lines",
            "        return x\n\ndef build(size):\n    return Layer(size)\n",
            "        return x\n\ndef build(size):\n    return None\n",
            "    return Layer(size)\n",
            "    return None\n",
        ),
        (
            "blank lines",
            "\n        self.size = size\n    def forward(self, x):\n",
            "\n        self.size = size\n        self.on = True\n    def forward(self, x):\n",
            "        self.size = size\n\n",
            "        self.size = size\n\n        self.on = True\n",
        ),
        (
            "section fences",
            "```python\n        return x\n```\n",
            "```python\n        return -x\n```\n",
            "        return x\n",
            "        return -x\n",
        ),
        (
            "line numbers",
            "   11 |def build(size):\n   12 |    return Layer(size)\n",
            "   11 |def build(size):\n   12 |    return None\n",
            "    return Layer(size)\n",
            "    return None\n",
        ),
        (
            "line numbers",
            "11: def build(size):\n12:     return Layer(size)\n",
            "def build(size):\n    return None\n",
            "    return Layer(size)\n",
            "    return None\n",
        ),
        (
            "ellipsis",
            "    def forward(self, x):\n...\n        return x\n",
            "    def forward(self, y):\n...\n        return y\n",
            None,
            None,
        ),
    ],
)
def test_each_tier_changes_that_place_only(
    wanted: str, search: str, replace: str, old: str | None, new: str | None
) -> None:
    outcome = edited(TEXT, search, replace)
    assert tier(outcome) == wanted
    if old is None or new is None:
        expected = TEXT.replace("forward(self, x)", "forward(self, y)").replace(
            "return x", "return y"
        )
    else:
        expected = TEXT.replace(old, new)
    assert new_text(outcome) == expected


def test_exact_wins_over_a_looser_place() -> None:
    text = "if a:\n    x = 1\nx = 1\n"
    assert new_text(edited(text, "x = 1\n", "x = 2\n")) == "if a:\n    x = 1\nx = 2\n"


@pytest.mark.parametrize(
    ("text", "search"),
    [
        ("a = 1\nb = 2\na = 1\n", "a = 1\n"),
        ("a = 1  \nb = 2\na = 1\t\n", "a = 1\n"),
        ("if a:\n    x = 1\nif b:\n        x = 1\n", "x = 1\n"),
        ("a\n\nb\nc\na\n\n\nb\n", "a\nb\n"),
        ("a\nx\nz\ny\nz\n", "a\n...\nz\n"),
        ("a\na\na\n", "a\na\n"),
    ],
)
def test_several_places_are_refused_with_their_lines(text: str, search: str) -> None:
    problem = refusal(edited(text, search, "new\n" + ("...\nend\n" if "..." in search else "")))
    assert problem.kind == "ambiguous"
    assert problem.lines and problem.line == problem.lines[0]
    assert "only the place you mean has" in problem.message


@pytest.mark.parametrize(
    ("text", "search", "cause"),
    [
        ("lr = 0.15\n", "lr = 0.1\n", "part of a longer line"),
        ("max_x = 1\nb\n", "x = 1\n", "part of a longer line"),
        (
            "first\nmiddle real\nlast\n",
            "first\nmiddle invented\nlast\n",
            "first difference at line 2",
        ),
        ("alpha beta gamma delta\n", "alpha beta gamma delto\n", "Nearest place"),
        ("if a:\n    x\n    y\n", "if a:\n    x\ny\n", "indent"),
        ("say “hello”\n", 'say "hello"\n', "Nearest place"),
        ("totally other text\n", "import numpy\n", "No part of the file is like it"),
        ("def f(a):\n    b\n    log(b)\n", "def f(a):\n...\n    log(c)\n", "..."),
    ],
)
def test_never_by_likeness_and_never_part_of_a_line(text: str, search: str, cause: str) -> None:
    problem = refusal(edited(text, search, "z\n" + ("...\nw\n" if "..." in search else "")))
    assert problem.kind == "no_match"
    assert cause in problem.message


def test_text_beside_an_ellipsis_that_has_no_place_is_refused() -> None:
    outcome = edited("def f(a):\n    b\nend\n", "def f(a):\n...\n", "def f(a):\n...\n    log(a)\n")
    assert refusal(outcome).kind == "no_match"


def test_ellipsis_pieces_stand_in_order() -> None:
    text = "z\na\nkeep\nz\n"
    assert new_text(edited(text, "a\n...\nz\n", "b\n...\ny\n")) == "z\nb\nkeep\ny\n"
    assert refusal(edited("z\na\n", "a\n...\nz\n", "b\n...\ny\n")).kind == "no_match"


@pytest.mark.parametrize(
    ("text", "search", "replace", "expected"),
    [
        # spaces in the reply, tabs in the file
        (
            "if a:\n\tx = 1\n",
            "if a:\n    x = 1\n",
            "if a:\n    if b:\n        x = 1\n",
            "if a:\n\tif b:\n\t\tx = 1\n",
        ),
        # four spaces in the reply, two in the file
        (
            "if a:\n  if b:\n    x\n",
            "if a:\n    if b:\n        x\n",
            "if a:\n    if b:\n        x\n        y\n    z\n",
            "if a:\n  if b:\n    x\n    y\n  z\n",
        ),
        # dedented by one level, and REPLACE goes one level out of it
        (
            "class A:\n    def f():\n        if x:\n            y\n",
            "    if x:\n        y\n",
            "    if x:\n        y\nz\n",
            "class A:\n    def f():\n        if x:\n            y\n    z\n",
        ),
        # a tab file, reply dedented and in spaces
        ("a:\n\tb:\n\t\tx\n", "b:\n    x\n", "b:\n    x\n    y\n", "a:\n\tb:\n\t\tx\n\t\ty\n"),
    ],
)
def test_new_lines_take_the_files_indentation(
    text: str, search: str, replace: str, expected: str
) -> None:
    outcome = edited(text, search, replace)
    assert tier(outcome) == "indentation"
    assert new_text(outcome) == expected


def test_a_line_that_cannot_be_mapped_fails_the_tier() -> None:
    outcome = edited(
        "a:\n    x\n", "        x\n", "        x\ny\n"
    )  # y is left of every line that maps
    assert refusal(outcome).kind == "no_match"


def test_an_indent_with_two_readings_is_not_guessed() -> None:
    """Four columns: one level of the file, cut off by one, or two levels of a reply that indents by two?"""
    text = "class A:\n    def f():\n        x\n"
    assert refusal(edited(text, "    x\n", "    x\ny\n")).kind == "no_match"


def test_later_blocks_see_the_work_of_earlier_ones() -> None:
    reply = block("a\n", "b\n") + block("b\n", "c\n")
    assert new_text(apply_reply(reply, {"experiment.py": "a\nz\n"})) == "c\nz\n"


def test_a_place_in_the_files_own_lines_goes_before_one_that_a_block_put_in() -> None:
    reply = block("a\n", "a\nx = 1\n") + block("x = 1\n", "x = 2\n")
    assert (
        new_text(apply_reply(reply, {"experiment.py": "a\nb\nx = 1\n"})) == "a\nx = 1\nb\nx = 2\n"
    )


def test_as_many_equal_blocks_as_places_change_every_place() -> None:
    text = "a\nx\na\n"
    assert new_text(apply_reply(block("a\n", "b\n") * 2, {"experiment.py": text})) == "b\nx\nb\n"
    assert (
        refusal(apply_reply(block("a\n", "b\n") * 3, {"experiment.py": text})).kind == "ambiguous"
    )


def test_a_block_sent_twice_is_done_once() -> None:
    outcome = apply_reply(block("a\n", "a\nb\n") * 2, {"experiment.py": "a\n"})
    assert new_text(outcome) == "a\nb\n"
    assert [(done.tier, done.note != "") for done in outcome.blocks] == [
        ("exact", False),
        (None, True),
    ]


def test_deleting_and_inserting_at_both_ends() -> None:
    assert new_text(edited("a\nb\nc\n", "a\n", "")) == "b\nc\n"
    assert new_text(edited("a\nb\nc\n", "c\n", "")) == "a\nb\n"
    assert new_text(edited("a\nb\n", "a\n", "z\na\n")) == "z\na\nb\n"
    assert new_text(edited("a\nb\n", "b\n", "b\nc\n")) == "a\nb\nc\n"
    assert new_text(edited("a\n", "a\n", "")) == ""


def test_a_blank_last_line_of_search_needs_a_blank_line() -> None:
    assert tier(edited("x\na\n", "a\n\n", "b\n\n")) == "blank lines"
    assert new_text(edited("x\na\n", "a\n\n", "b\n\n")) == "x\nb\n"
