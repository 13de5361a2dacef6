"""What exceptions mean: the rows of all tables in their order, most specific first.

Patterns hold no nested repetition, and repetition over free text is bounded, so that no message, however
large or hostile, costs more than some tens of milliseconds.
"""

from __future__ import annotations

from agent_runner.failures.rules import Rule
from agent_runner.failures.rules_python import BY_TYPE, PYTHON
from agent_runner.failures.rules_tensors import TENSORS
from agent_runner.failures.rules_world import WORLD

SPECIFIC: tuple[Rule, ...] = (*WORLD, *TENSORS, *PYTHON)
"""Exceptions known by what they say."""

__all__ = ["BY_TYPE", "SPECIFIC"]
