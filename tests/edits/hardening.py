"""Replies to try the edit engine with, built only from what its public interface promises."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from agent_runner.edits import apply_reply

NAME = "experiment.py"


def block(search: str, replace: str, marks: int = 7, indent: str = "") -> str:
    """One block. Texts end with a line feed, or are empty."""
    return (
        f"{indent}{'<' * marks} SEARCH\n{search}{indent}{'=' * marks}\n{replace}"
        f"{indent}{'>' * marks} REPLACE\n"
    )


def fenced(*blocks: str, name: str | None = NAME, fence: str = "```", info: str = "python") -> str:
    """Blocks as models send them: the file's name, then one fence round all."""
    above = f"{name}\n" if name else ""
    return f"Some prose first.\n\n{above}{fence}{info}\n{''.join(blocks)}{fence}\n"


def edit(search: str, replace: str, **how: Any) -> str:
    return fenced(block(search, replace), **how)


def applied(
    reply: str, files: Mapping[str, str] | str, editable: Collection[str] | None = None
) -> dict[str, str]:
    """The new texts of a reply that must apply."""
    outcome = apply_reply(reply, {NAME: files} if isinstance(files, str) else files, editable)
    assert outcome.applied, outcome.message
    assert outcome.kind is None and not outcome.problems and outcome.message
    return outcome.files


def changed(reply: str, text: str) -> str:
    """The new text of the one file."""
    files = applied(reply, text)
    assert set(files) == {NAME}
    return files[NAME]


def refused(
    reply: str,
    files: Mapping[str, str] | str,
    kind: str | Collection[str],
    editable: Collection[str] | None = None,
) -> Any:
    """The outcome of a reply that must change nothing, with the kind of its first problem checked."""
    outcome = apply_reply(reply, {NAME: files} if isinstance(files, str) else files, editable)
    assert not outcome.applied, outcome.files
    assert not outcome.files and outcome.diff == ""
    assert outcome.problems and outcome.kind == outcome.problems[0].kind
    kinds = {kind} if isinstance(kind, str) else set(kind)
    assert outcome.kind in kinds, outcome.message
    assert outcome.message.startswith("Nothing was changed")
    return outcome
