"""The first message of an AI-Scientist-style conversation: the idea, the budget and the baseline."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Any

TITLE = "Your goal is to implement the following idea:"
_EXPERIMENT = "The proposed experiment is as follows:"
_PLAN = "The implementation plan is as follows:"
_MAX_RUNS = re.compile(r"You are given a total of up to (\d{1,6}) runs")
_BASELINE = "the baseline results are as follows:"
_MARKS = re.compile(
    "|".join((re.escape(_EXPERIMENT), re.escape(_PLAN), r"You are given a total of up to"))
)
MAX_BASELINE = 1_000_000


@dataclass(frozen=True)
class Task:
    """What a task message says. Texts are as written, less the full stop its form puts behind each."""

    title: str
    experiment: str = ""
    plan: str = ""
    max_runs: int | None = None
    baseline: dict[str, Any] | None = None
    baseline_problem: str | None = None


def is_task(text: str) -> bool:
    return TITLE in text


def parse_task(text: str) -> Task:
    """Read a message for which `is_task` holds."""
    runs = _MAX_RUNS.search(text)
    baseline, problem = _baseline(text)
    return Task(
        title=" ".join(_section(text, TITLE).split()),
        experiment=_section(text, _EXPERIMENT),
        plan=_section(text, _PLAN),
        max_runs=int(runs[1]) if runs else None,
        baseline=baseline,
        baseline_problem=problem,
    )


def _section(text: str, mark: str) -> str:
    """What follows a mark, up to the next one."""
    _, found, rest = text.partition(mark)
    if not found:
        return ""
    following = _MARKS.search(rest)
    section = rest[: following.start()] if following else rest.partition("\n\n")[0]
    return section.strip().removesuffix(".")


def _baseline(text: str) -> tuple[dict[str, Any] | None, str | None]:
    """The dict that stands behind its mark, as a Python literal; else None and why, where there is one."""
    _, found, rest = text.partition(_BASELINE)
    if not found:
        return None, None
    literal = rest.strip().partition("\n\n")[0].strip()
    if len(literal) > MAX_BASELINE:
        return None, f"the baseline has {len(literal)} characters; at most {MAX_BASELINE} are read"
    try:
        value = ast.literal_eval(literal)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        return None, f"the baseline is not a Python literal: {type(error).__name__}: {error}"[:300]
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        return None, "the baseline is not a dict with names as keys"
    return value, None
