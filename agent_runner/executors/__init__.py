"""Where jobs run. An executor is any class of this shape that an entry point of its group names."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

from agent_runner.errors import ExecutorError, UsageError
from agent_runner.executors.local import LocalExecutor
from agent_runner.executors.sandboxing import LEVELS, Sandboxing
from agent_runner.records import JobExit, JobSpec

__all__ = ["LEVELS", "Executor", "Job", "LocalExecutor", "Sandboxing", "get_executor"]

ENTRY_POINTS = "agent_runner.executors"


class Job(Protocol):
    """A job that was started, by this process or an earlier one."""

    @property
    def record_dir(self) -> Path:
        """Where its records are."""

    def poll(self) -> JobExit | None:
        """How it ended, or None while it goes on. Repeatable."""

    def wait(self, timeout: float | None = None) -> JobExit | None:
        """Wait for its end, at most `timeout` seconds; None when it still goes on."""

    def cancel(self) -> None:
        """Ask for its end and return at once; without effect on a job that has ended."""

    def alive(self) -> bool:
        """Whether somebody supervises it."""


class Executor(Protocol):
    """Starts jobs, and finds them again."""

    @property
    def name(self) -> str:
        """The name it is chosen by."""

    def start(self, spec: JobSpec) -> Job:
        """Start a job and return once that is on record.

        Raises:
            ExecutorError: nothing was started. (A program that cannot be started is a job that ends.)
        """

    def attach(self, record_dir: Path) -> Job:
        """The job whose records are in a folder, whether it goes on or has ended."""


def get_executor(name: str) -> Executor:
    """The executor of that name: `local`, or one that an installed package brings.

    Raises:
        UsageError: there is none of that name.
        ExecutorError: there is, and it cannot be loaded.
    """
    if name == LocalExecutor.name:
        return LocalExecutor()
    found = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if name not in found:
        known = ", ".join(sorted({LocalExecutor.name, *found}))
        raise UsageError(
            f"there is no executor {name!r}",
            f"Executors here: {known}. Choose one with AGENT_RUNNER_EXECUTOR, or install its package.",
        )
    try:
        executor: Executor = found[name].load()()
    except Exception as error:  # foreign code: it may fail in any way
        raise ExecutorError(
            f"the executor {name!r} ({found[name].value}) cannot be loaded: {error!r}",
            "Repair or remove the package that brings it, or set AGENT_RUNNER_EXECUTOR=local.",
        ) from error
    return executor
