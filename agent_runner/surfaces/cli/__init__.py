"""The command line: `agent-runner`."""

from agent_runner.surfaces.cli.main import main

__all__ = ["main"]
