"""Settings: `AGENT_RUNNER_*` environment variables over defaults. Command line options override both."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """How this installation runs experiments.

    home: the folder that holds all state.
    python: the experiments' interpreter; by default the runner's own. It may be another environment: the
        job side imports nothing of this package.
    executor: an entry point of the group `agent_runner.executors`.
    """

    model_config = SettingsConfigDict(env_prefix="AGENT_RUNNER_")

    home: Path = Path("runs")
    python: Path = Path(sys.executable)
    executor: str = "local"
