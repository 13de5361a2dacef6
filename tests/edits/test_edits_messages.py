"""What a refusal tells its reader, put to the test: who does what the message says has a reply that applies."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from edit_replies import block, edited, refusal
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runner.edits import apply_reply

FILE = """\
import numpy as np


class Model:
    def __init__(self, lr):
        self.lr = lr
        self.w = np.zeros(3)

    def forward(self, x):
        return x @ self.w

    def step(self, x, y):
        grad = x.T @ (self.forward(x) - y)
        self.w -= self.lr * grad
        return float(np.abs(grad).mean())


def train(model, data, epochs=10):
    for epoch in range(epochs):
        total = 0.0
        for x, y in data:
            total += model.step(x, y)
        print(epoch, total)
    return model


def main():
    model = Model(lr=0.1)
    train(model, [])


if __name__ == "__main__":
    main()
"""
STEP = "".join(FILE.splitlines(keepends=True)[11:15])
NUMBERED = re.compile(r"^[> ] *(\d+) \|(.*)$", re.MULTILINE)
NAME = "model.txt"


def shown(message: str) -> list[tuple[int, str]]:
    """The numbered lines of a message."""
    return [(int(number), text) for number, text in NUMBERED.findall(message)]


# ---------------------------------------------------------------- the nearest place


@pytest.mark.parametrize(
    ("search", "place", "first"),
    [
        (STEP.replace("self.lr", "self.rate"), "lines 12-15", "first difference at line 14:"),
        (  # a line that SEARCH left out
            STEP.replace("        grad = x.T @ (self.forward(x) - y)\n", ""),
            "lines 12-15",
            "first difference at line 13, which SEARCH does not have",
        ),
        (  # a line that the file does not have, inside
            STEP.replace("        self.w -=", "        log(grad)\n        self.w -="),
            "lines 12-15",
            "first difference before line 14, a line that the file does not have",
        ),
        (  # and at the begin
            "    @timed\n" + STEP,
            "lines 12-15",
            "first difference before line 12, a line that the file does not have",
        ),
        (  # what a tier would tolerate is not named where something else differs
            "def step(self, x, y):\n    grad = x.T @ (self.forward(x) - y)\n    self.w -= grad\n",
            "lines 12-14",
            "first difference at line 14:",
        ),
    ],
)
def test_the_nearest_place_is_aligned_line_by_line(search: str, place: str, first: str) -> None:
    problem = refusal(edited(FILE, search, "x\n"))
    assert problem.kind == "no_match"
    assert f"Nearest place: {place}" in problem.message
    assert first in problem.message
    for number, text in shown(problem.message):
        assert FILE.splitlines()[number - 1] == text
    assert [(line.number, line.text) for line in problem.nearest] == shown(problem.message)


def test_every_difference_is_named_so_that_one_answer_mends_all() -> None:
    search = STEP.replace("x.T", "x").replace("np.abs", "abs")
    message = refusal(edited(FILE, search, "x\n")).message
    assert "first difference at line 13" in message
    assert "also different at line 15" in message


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["change", "drop", "add"]))
def test_copying_the_lines_shown_gives_the_edit_that_was_meant(seed: int, slip: str) -> None:
    """SEARCH has one slip; the lines shown go into it, REPLACE stays: the result is the true edit's."""
    chance = random.Random(seed)
    lines = FILE.splitlines()
    count = chance.randint(3, 8)
    start = chance.randrange(len(lines) - count)
    true = lines[start : start + count]
    inner = chance.randrange(1, count - 1)
    if not (true[0].strip() and true[-1].strip() and true[inner].strip()):
        return
    replace = list(true)
    replace[-1] += "  # edited"
    search = list(true)
    if slip == "change":
        search[inner] += "x"
    elif slip == "drop":
        del search[inner]
    else:
        search.insert(inner, re.match(" *", true[inner - 1])[0] + "extra_call()")  # type: ignore[index]
    new = "\n".join(replace) + "\n"
    problem = refusal(edited(FILE, "\n".join(search) + "\n", new, NAME))
    assert problem.kind == "no_match"
    if "Copy these lines into SEARCH without the numbers." not in problem.message:
        return
    copied = "".join(f"{text}\n" for _, text in shown(problem.message))
    again = edited(FILE, copied, new, NAME)
    assert again.applied, again.message
    assert again.files[NAME].splitlines() == [*lines[:start], *replace, *lines[start + count :]]


CODE = (
    "class M:\n    def __init__(self, dim, lr=0.1):\n        self.w = dim\n        self.lr = lr\n"
)
SETTINGS = "import math\n\nlr = 0.1\nsteps = 10\n"


@pytest.mark.parametrize(
    ("text", "search", "line"),
    [
        ("a = 1\nb = 2\nc = 3\n", "c = 1\n", 3),
        (CODE, "        self.lr = 0.1\n", 4),
        (CODE, "    def __init__(self, dim, lr=0.3):\n", 2),
        (FILE, "        self.w -= self.rate * grad\n", 14),
        (SETTINGS, "momentum = 0\n", None),  # a digit of a number is not a word in common
        (SETTINGS, "foo(1)\n", None),
    ],
)
def test_of_places_with_equal_words_the_likest_is_nearest(
    text: str, search: str, line: int | None
) -> None:
    problem = refusal(edited(text, search, "new = 1\n"))
    assert (problem.kind, problem.line) == ("no_match", line)


# ---------------------------------------------------------------- advice that would not work is not given


def test_lines_that_stand_twice_are_not_to_be_copied_as_they_are() -> None:
    text = "def f():\n    x = 1\n    return x\n\n\ndef g():\n    x = 1\n    return x\n"
    message = refusal(
        edited(text, "    x = 2\n    return x\n", "    x = 3\n    return x\n")
    ).message
    assert "more than once (lines 2, 7)" in message and "neighbouring line" in message


def test_a_place_longer_than_what_is_shown_is_corrected_not_copied() -> None:
    lines = FILE.splitlines(keepends=True)
    search = "".join(lines[3:24]).replace("total = 0.0", "total = 0")
    message = refusal(edited(FILE, search, "x\n")).message
    assert "Correct what differs in SEARCH (line 20)" in message
    assert "Copy these lines" not in message
    assert len(shown(message)) == 12


@pytest.mark.parametrize("line", ["x = '" + "a" * 300 + "'", "x\u200b = 1", 'print("\x1b[31m")'])
def test_lines_that_cannot_be_shown_as_they_are_are_not_to_be_copied(line: str) -> None:
    text = f"first = 1\n{line}\nlast = 3\n"
    message = refusal(edited(text, f"first = 2\n{line}\nlast = 3\n", "x\n")).message
    assert "not shown in full" in message and "Copy these lines" not in message


def test_a_place_that_an_earlier_block_changes_names_that_block() -> None:
    grad = "        grad = x.T @ (self.forward(x) - y)\n"
    reply = block(grad, grad + "        log(grad)\n", name=NAME)
    reply += block(STEP.replace("self.lr", "self.rate"), "x\n", name=NAME)
    problem = refusal(apply_reply(reply, {NAME: FILE}))
    assert problem.block == 2
    assert "block 1 of this reply changes these lines" in problem.message
    assert shown(problem.message)[0] == (12, "    def step(self, x, y):")  # as it is on disk


def test_text_that_an_earlier_block_took_away_is_said_so_and_nothing_else() -> None:
    first, second = "    model = Model(lr=0.1)\n", "    train(model, [])\n"
    reply = block(first, first.replace("0.1", "0.2"), name=NAME)
    reply += block(first + second, "    pass\n", name=NAME)
    problem = refusal(apply_reply(reply, {NAME: FILE}))
    assert "Its text was there (line 28) until block 1 of this reply changed it" in problem.message
    assert "indent" not in problem.message and problem.line == 28


def test_text_of_another_file_is_named_with_its_line() -> None:
    reply = block("    train(model, [])\n", "    pass\n", name="a.txt")
    problem = refusal(apply_reply(reply, {"a.txt": "nothing\n", "b.txt": FILE}))
    assert "stands in `b.txt` (line 29)" in problem.message
    assert "Nearest place" not in problem.message
    # As the earlier block of the reply has nothing to do with it, it is not named.
    reply = block("lr = 0.1\n", "lr = 0.2\n", name="c.txt")
    reply += block("    train(model, lr)\n", "    pass\n", name=None)
    files = {"c.txt": "lr = 0.1\nx = lr\n", "d.txt": "if x:\n    train(model, lr)\n"}
    problem = refusal(apply_reply(reply, files))
    assert "stands in `d.txt` (line 2)" in problem.message and "block 1" not in problem.message


def test_the_piece_between_dots_that_fits_twice_is_the_one_that_is_shown() -> None:
    text = "a = 1\nb\nc = 2\nd\nc = 2\n"
    problem = refusal(edited(text, "a = 1\n...\nc = 2\n", "a = 3\n...\nc = 2\n"))
    assert problem.kind == "ambiguous" and problem.lines == [3, 5]
    assert "piece 2 of SEARCH" in problem.message


# ---------------------------------------------------------------- edits that were made before

REWRITTEN = STEP.replace(
    "grad = x.T @ (self.forward(x) - y)",
    "error = self.forward(x) - y\n        self.m = 0.9 * self.m + x.T @ error",
).replace("self.lr * grad", "self.m")
LOOP = "".join(FILE.splitlines(keepends=True)[18:24])


@pytest.mark.parametrize(
    ("search", "replace"),
    [
        (STEP, REWRITTEN),
        (REWRITTEN, STEP),
        (STEP, "    def step(self, x, y):\n        return 0.0\n"),
        ("import numpy as np\n", "import torch\nfrom torch import nn\n"),
        ("import numpy as np\n", "import torch\n"),
        ("    model = Model(lr=0.1)\n", "    model = Model(lr=0.2)\n"),
        ("    train(model, [])\n", "    main_loop()\n"),
        (LOOP, LOOP.replace("        print(epoch, total)\n", "")),  # a deletion inside
        (
            LOOP,
            LOOP.replace(
                "        print(epoch, total)\n", "        log(epoch)\n        log(total)\n"
            ),
        ),
        (  # the last lines deleted
            "    for epoch in range(epochs):\n        total = 0.0\n",
            "    for epoch in range(epochs):\n",
        ),
    ],
)
def test_a_reply_sent_again_is_a_noop(search: str, replace: str) -> None:
    text = FILE.replace(STEP, search) if search == REWRITTEN else FILE
    first = edited(text, search, replace, NAME)
    assert first.applied, first.message
    again = edited(first.files[NAME], search, replace, NAME)
    problem = refusal(again)
    assert problem.kind == "noop", problem.message
    assert "already applied, line" in problem.message
    assert "There is nothing left to send again." in again.message


def test_a_long_reply_sent_again_is_a_noop_to_its_last_block() -> None:
    text = "".join(f"v{i} = {i + 100}\n" for i in range(30))
    reply = "".join(block(f"v{i} = {i}\n", f"v{i} = {i + 100}\n", name=NAME) for i in range(30))
    outcome = apply_reply(reply, {NAME: text})
    assert {problem.kind for problem in outcome.problems} == {"noop"}
    assert "30 of 30 blocks need no change" in outcome.message


# ---------------------------------------------------------------- size and form


def test_a_message_is_bounded_whatever_fails() -> None:
    text = "".join(f"line {i} {'x' * 500}\n" for i in range(200))
    blocks = ["".join(f"line {i + k} {'x' * 499}y\n" for k in range(40)) for i in range(0, 150, 2)]
    reply = "".join(block(search, "z\n", name=NAME) for search in blocks)
    message = apply_reply(reply, {NAME: text}).message
    assert message.startswith("Nothing was changed: 75 of 75 blocks cannot be applied")
    assert len(message) < 25_000
    assert "block 40 " in message and "and 35 more" in message


def test_lone_surrogates_of_a_file_travel_as_json() -> None:
    outcome = edited("x = \udc80\nfoo\n", "x = 1\nfoo\n", "y\n")
    assert "\\udc80" in outcome.model_dump_json()


def test_a_diff_of_a_name_with_a_blank_ends_its_headers_with_a_tab(tmp_path: Path) -> None:
    outcome = apply_reply(block("a\n", "b\n", name="my file.txt"), {"my file.txt": "a\n"})
    assert outcome.diff.startswith("--- a/my file.txt\t\n+++ b/my file.txt\t\n")


# ---------------------------------------------------------------- byte order marks


@pytest.mark.parametrize(("mark_in_search", "mark_in_replace"), [(1, 1), (1, 0), (0, 1), (0, 0)])
def test_a_copied_byte_order_mark_is_neither_needed_nor_doubled(
    mark_in_search: int, mark_in_replace: int
) -> None:
    mark = "\ufeff"
    outcome = edited(
        f"{mark}a\nb\n", f"{mark * mark_in_search}a\n", f"{mark * mark_in_replace}c\n", NAME
    )
    assert outcome.applied, outcome.message
    assert outcome.files[NAME] == f"{mark}c\nb\n"


# ---------------------------------------------------------------- repeats


def test_a_repeated_block_changes_only_what_was_in_the_file() -> None:
    text = "def f():\n    v = 1\n    return v\n"
    inserted = "def g():\n    v = 1\n    return 0\n\n"
    reply = block("def f():\n", f"{inserted}def f():\n", name=NAME)
    reply += 2 * block("    v = 1\n", "    v = 2\n", name=NAME)
    outcome = apply_reply(reply, {NAME: text})
    assert outcome.applied, outcome.message
    assert outcome.files[NAME] == inserted + "def f():\n    v = 2\n    return v\n"
