"""Running one job of an idea (a run, or a check before it) and gathering what it left behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent_runner.execution.environment import build_environment, resolve_argv
from agent_runner.executors import Executor, Job
from agent_runner.failures import Evidence, diagnose
from agent_runner.paths import JobPaths, read_json, read_text
from agent_runner.records import (
    Failure,
    JobExit,
    JobSpec,
    Limits,
    ModelUse,
    Problem,
    Template,
)

# Called with (what is going on, detail) while a proposal is worked on; for people watching.
Progress = Callable[[str, str], None]

_POLL_S = 0.5  # how often a watcher hears of a new phase; the end of a job is noticed at once


@dataclass(frozen=True)
class JobRequest:
    """One command to run for an idea."""

    job_id: str
    command: str
    out_dir: str  # filled into the command; relative to the worktree, or absolute
    worktree: Path
    records: JobPaths
    limits: Limits
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class JobEvents:
    """What the template's harness reported while it ran."""

    phase: str | None = None
    device: str | None = None
    model: ModelUse | None = None
    warnings: tuple[Problem, ...] = ()


class JobRunner:
    """Starts jobs through an executor, in an environment built from an allow-list."""

    def __init__(self, executor: Executor, interpreter: Path, cache: Path) -> None:
        self._executor = executor
        self.interpreter = interpreter
        self._cache = cache.absolute()

    def start(self, request: JobRequest, *, network: bool) -> Job:
        """Start a job and return at once; its end is `job.wait()`."""
        folder = request.records.folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        self._cache.mkdir(parents=True, exist_ok=True)
        environment = build_environment(
            record_dir=folder,
            cache_dir=self._cache,
            interpreter=self.interpreter,
            network=network,
            extra=dict(request.environment),
        )
        spec = JobSpec(
            job_id=request.job_id,
            argv=resolve_argv(request.command, request.out_dir, self.interpreter),
            cwd=str(request.worktree.absolute()),
            env=environment,
            record_dir=str(folder),
            limits=request.limits,
        )
        return self._executor.start(spec)

    def attach(self, records: JobPaths) -> Job:
        """The job that an earlier server process started."""
        return self._executor.attach(records.folder.absolute())


def wait(job: Job, records: JobPaths, label: str, progress: Progress) -> JobExit:
    """Wait for the end of a job. An interrupt from the keyboard cancels it, and is not lost."""
    told = None
    while True:
        try:
            ended = job.wait(_POLL_S)
        except KeyboardInterrupt:
            progress(label, "cancelling")
            job.cancel()
            continue
        if ended is not None:
            return ended
        phase = read_events(records).phase
        if phase != told:
            told = phase
            progress(label, phase or "")


def read_events(records: JobPaths) -> JobEvents:
    """The last phase, device and model, and every warning, of `events.jsonl`.

    The file is written by the experiment's own process, so nothing in it is believed beyond its shape.
    """
    phase = device = None
    model: ModelUse | None = None
    warnings: list[Problem] = []
    for event in _lines(read_text(records.events)):
        phase = _text(event.get("phase")) or phase
        device = _text(event.get("device")) or device
        used = event.get("model")
        if isinstance(used, dict):
            model = _model_use(used) or model
        warning = event.get("warning")
        if isinstance(warning, dict) and len(warnings) < 20:
            warnings.append(
                Problem(
                    kind=_text(warning.get("code")) or "warning",
                    message=_text(warning.get("message")) or "",
                    severity="warning",
                )
            )
    return JobEvents(phase, device, model, tuple(warnings))


def explain(
    ended: JobExit,
    records: JobPaths,
    *,
    worktree: Path,
    template: Template,
    limits: Limits,
    results_problem: Problem | None,
    free_memory: int | None,
) -> Failure | None:
    """Why a job failed, from everything it left behind; None where it did not."""
    events = read_events(records)
    return diagnose(
        Evidence(
            exit=ended,
            exception=_exception(records),
            stdout=read_text(records.stdout),
            stderr=read_text(records.stderr),
            phase=events.phase,
            root=str(worktree.absolute()),
            editable=template.editable,
            results_problem=results_problem,
            model=events.model,
            device=events.device,
            available_memory_bytes=free_memory,
            limits=limits,
            stack_dump=read_text(records.stacks),
        )
    )


def _exception(records: JobPaths) -> dict[str, Any] | None:
    try:
        record = read_json(records.exception)
    except (ValueError, OSError, RecursionError):
        return None  # written by the experiment's process: it may hold anything
    return record if isinstance(record, dict) else None


def _lines(text: str) -> Iterable[dict[str, Any]]:
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield event


def _model_use(fields: Mapping[str, Any]) -> ModelUse | None:
    requested, granted = _text(fields.get("requested")), _text(fields.get("granted"))
    if requested is None or granted is None:
        return None
    return ModelUse(requested=requested, granted=granted, reason=_text(fields.get("reason")) or "")


def _text(value: object) -> str | None:
    return value[:500] if isinstance(value, str) and value else None
