"""Finding an executor by name."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from agent_runner import executors
from agent_runner.errors import ExecutorError, UsageError
from agent_runner.executors import Executor, get_executor
from agent_runner.executors.local import LocalExecutor


class Elsewhere(LocalExecutor):
    name = "elsewhere"


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = EntryPoints(
        EntryPoint(name, value, executors.ENTRY_POINTS)
        for name, value in (
            ("elsewhere", f"{__name__}:Elsewhere"),
            ("broken", "no_such_module:Executor"),
            ("local", "no_such_module:Executor"),
        )
    )
    monkeypatch.setattr(executors, "entry_points", lambda group: entries.select(group=group))


def test_local_needs_no_entry_point() -> None:
    assert isinstance(get_executor("local"), LocalExecutor)


def test_an_installed_package_brings_another() -> None:
    executor: Executor = get_executor("elsewhere")
    assert executor.name == "elsewhere"


def test_an_unknown_name_is_told_what_there_is() -> None:
    with pytest.raises(UsageError) as error:
        get_executor("slurm")
    assert "'slurm'" in error.value.message
    assert "broken, elsewhere, local" in error.value.remedy


def test_a_broken_package_is_named() -> None:
    with pytest.raises(ExecutorError) as error:
        get_executor("broken")
    assert "no_such_module" in error.value.message and "local" in error.value.remedy
