"""The SEARCH/REPLACE edit engine: a reply changes exactly what its author meant, or nothing at all.

`apply_reply` is pure; `apply_to_directory` reads and writes files around it. Neither raises for anything a
reply contains: what cannot be applied is an `EditProblem` that says how to mend it.
"""

from agent_runner.edits.directory import apply_to_directory
from agent_runner.edits.engine import apply_reply
from agent_runner.edits.outcome import AppliedBlock, EditOutcome, EditProblem

__all__ = ["AppliedBlock", "EditOutcome", "EditProblem", "apply_reply", "apply_to_directory"]
