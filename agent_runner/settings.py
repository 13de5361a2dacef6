"""Settings: `AGENT_RUNNER_*` environment variables over defaults. Command line options override both."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """How this installation runs experiments.

    home: the folder that holds all state.
    python: the experiments' interpreter; by default the runner's own. It may be another environment: the
        job side imports nothing of this package.
    executor: an entry point of the group `agent_runner.executors`.
    sandbox: the level of isolation for ideas that ask for none: `auto` is the highest that works.
    require_level: less than this is refused, whoever asks for it.
    cpu_slots: how many jobs without a GPU may go on at once; 0: half of the processors, at least 2.
    downloads: whether models that the hub has, and that may be used here, are fetched where they are wanted.
    sandbox_read: folders that runs may read beside what a sandbox always shows (data sets, a library that
        is installed in editable mode), joined by `:` as in PATH.
    """

    model_config = SettingsConfigDict(env_prefix="AGENT_RUNNER_")

    home: Path = Path("runs")
    python: Path = Path(sys.executable)
    executor: str = "local"
    sandbox: str = "auto"
    require_level: Literal["L0", "L1", "L2", "L3"] = "L0"
    cpu_slots: int = Field(default=0, ge=0)
    downloads: bool = True
    sandbox_read: str = ""
