"""An experiment execution server for agents.

>>> from agent_runner import Runner
>>> runner = Runner("runs")  # doctest: +SKIP
>>> idea = runner.create_idea("Top-k activation")  # doctest: +SKIP
>>> observation = runner.propose(idea.id, reply)  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent_runner.service import Runner

__all__ = ["Runner"]


def __getattr__(name: str) -> Any:
    """`Runner` on demand: importing a record must not load the database and git."""
    if name == "Runner":
        from agent_runner.service import Runner

        return Runner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
