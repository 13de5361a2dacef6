"""Replies and outcomes for the edit engine's tests."""

from __future__ import annotations

from agent_runner.edits import EditOutcome, EditProblem, apply_reply

NAME = "experiment.py"


def block(search: str, replace: str, *, name: str | None = NAME, fence: str = "```python") -> str:
    """One block as models send it. Texts end with a line feed, or are empty."""
    heading = f"{name}\n" if name else ""
    return (
        f"{heading}{fence}\n<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n"
        f"{fence.rstrip('python')}\n\n"
    )


def edited(text: str, search: str, replace: str, name: str = "notes.txt") -> EditOutcome:
    """One block on one file (a text file, so that Python's syntax does not matter)."""
    return apply_reply(block(search, replace, name=name), {name: text})


def new_text(outcome: EditOutcome) -> str:
    """The one new text of an outcome that was applied."""
    assert outcome.applied, outcome.message
    assert outcome.kind is None and outcome.problems == []
    (text,) = outcome.files.values()
    return text


def tier(outcome: EditOutcome) -> str | None:
    assert outcome.applied, outcome.message
    return outcome.blocks[0].tier


def refusal(outcome: EditOutcome) -> EditProblem:
    """The first problem of an outcome that changed nothing."""
    assert not outcome.applied, outcome.files
    assert outcome.files == {} and outcome.diff == "" and outcome.problems
    assert outcome.kind == outcome.problems[0].kind
    assert outcome.message.startswith("Nothing was changed")
    return outcome.problems[0]
