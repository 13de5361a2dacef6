"""The SEARCH/REPLACE edit engine: a proposal changes exactly what its author meant, or nothing.

`apply_reply` is pure; `apply_to_directory` reads and writes files. Both return an `EditOutcome` and raise for
nothing that a reply contains. See `places` for how a SEARCH finds its place and `replace` for what takes it.
"""

from __future__ import annotations

from agent_runner.edits.directory import apply_to_directory
from agent_runner.edits.engine import apply_reply
from agent_runner.edits.outcome import (
    EditedBlock,
    EditOutcome,
    EditProblem,
    FileLine,
    ProblemKind,
    Tier,
)

__all__ = [
    "EditOutcome",
    "EditProblem",
    "EditedBlock",
    "FileLine",
    "ProblemKind",
    "Tier",
    "apply_reply",
    "apply_to_directory",
]
