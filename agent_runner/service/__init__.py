"""The one sequence that brings the rooms together: an idea, its baseline, its proposals, its runs."""

from agent_runner.service.jobs import Progress
from agent_runner.service.runner import Runner

__all__ = ["Progress", "Runner"]
