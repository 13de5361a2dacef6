"""Tracebacks drawn into a box by `rich`, as they stand in saved logs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent_runner.failures import explain_log
from agent_runner.failures.boxed import unboxed

BOXED = """\
starting
╭──────────── Traceback (most recent call last) ─────────────╮
│ /runs/worktrees/an-idea-with-a-long-name/experiment.py:87  │
│ in <module>                                                │
│                                                            │
│   85                                                       │
│ ❱ 87 │   main(parse_args())                                │
│                                                            │
│ ╭─────────────────── locals ────────────────────╮          │
│ │ config = {'why': 'File "x.py", line 1, in y'} │          │
│ ╰───────────────────────────────────────────────╯          │
│                                                            │
│ /runs/worktrees/an-idea-with-a-long-name-that-does-not-fit │
│ -into-a-line/experiment.py:1071 in line                    │
│                                                            │
│   1070 │   def line(self):                                 │
│ ❱ 1071 │   │   return self.metrics["recall"]               │
│   1072                                                     │
╰────────────────────────────────────────────────────────────╯
KeyError: 'recall'
"""


def test_the_place_and_the_line_are_read_out_of_the_box() -> None:
    failure = explain_log(BOXED, returncode=1)
    assert (failure.kind, failure.message) == ("key_error", "'recall'")
    assert failure.location is not None
    assert (failure.location.file, failure.location.line) == ("experiment.py", 1071)
    assert failure.location.code == 'return self.metrics["recall"]'
    assert failure.location.function == "line"


def test_boxes_of_a_chain_keep_their_order() -> None:
    link = "\nThe above exception was the direct cause of the following exception:\n\n"
    outer = BOXED.removeprefix("starting\n").replace(
        "KeyError: 'recall'", "RuntimeError: no report"
    )
    failure = explain_log(BOXED + link + outer, returncode=1)
    assert failure.kind == "key_error"
    assert [cause.type for cause in failure.cause_chain] == ["RuntimeError", "KeyError"]


def test_a_box_that_is_cut_off_changes_nothing_before_it() -> None:
    cut = BOXED[: BOXED.index("│ ❱ 1071")]
    assert unboxed(cut).split("\n")[0] == "starting"
    assert explain_log(cut, returncode=1).kind == "unknown"


@given(st.lists(st.sampled_from([*BOXED.split("\n"), "", "│ x │", "╭", "❱", "word"]), max_size=40))
def test_no_text_is_too_strange(lines: list[str]) -> None:
    text = "\n".join(lines)
    assert "╭" in text or unboxed(text) == text
    assert explain_log(text).kind
