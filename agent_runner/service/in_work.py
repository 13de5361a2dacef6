"""What every step asks of the proposal it is taken for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from agent_runner.records import Idea, ModelUse, Problem
from agent_runner.service.jobs import Progress
from agent_runner.service.workspace import Workspace


class InWork(Protocol):
    """A proposal that is being worked on; each step's own protocol says what else it needs."""

    @property
    def workspace(self) -> Workspace: ...
    @property
    def idea(self) -> Idea: ...
    @property
    def attempt(self) -> int: ...
    @property
    def progress(self) -> Progress: ...
    @property
    def grants(self) -> Mapping[str, ModelUse]: ...
    @property
    def warnings(self) -> list[Problem]: ...
