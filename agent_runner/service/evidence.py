"""Gathering what a job left in its record folder, as evidence for a diagnosis."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_runner.failures import (
    Evidence,
    clean_output,
    diagnose,
    interleave,
    printable,
    without_secrets,
)
from agent_runner.models import available_memory
from agent_runner.paths import JobPaths, read_json, read_strange, read_text
from agent_runner.records import Failure, JobExit, Limits, ModelUse, Problem
from agent_runner.service.log_ends import read_ends

_MAX_WARNINGS = 20
_MAX_EVENT_BYTES = 1024 * 1024  # of a job that goes on
_HEAD_BYTES, _TAIL_BYTES = 240 * 1024, 960 * 1024  # of each log; within what `failures` parses
_SHOWN_HEAD, _SHOWN_TAIL = 16 * 1024, 256 * 1024  # of each log, for an agent: often mostly bars


@dataclass(frozen=True)
class JobEvents:
    """What the template's harness reported while it ran."""

    phase: str | None = None
    device: str | None = None
    model: ModelUse | None = None  # the last one
    models: tuple[str, ...] = ()  # every one that it says it was granted
    refused: ModelUse | None = None  # asked for, and not to be had, nor another in its place
    warnings: tuple[Problem, ...] = ()


def gather(
    ended: JobExit | None,
    records: JobPaths,
    *,
    root: str,
    editable: tuple[str, ...],
    limits: Limits | None,
    results_problem: Problem | None,
    free_memory: int | None,
) -> Evidence:
    """Everything a job left behind.

    root: the worktree as the job saw it.
    free_memory: bytes of host memory that a job can have here.
    """
    events = read_events(records)
    return Evidence(
        exit=ended,
        exception=_exception(records),
        stdout=_log(records.stdout),
        stderr=_log(records.stderr),
        phase=events.phase,
        root=root,
        editable=editable,
        results_problem=results_problem,
        model=events.model,
        device=events.device,
        available_memory_bytes=free_memory,
        limits=limits,
        stack_dump=read_text(records.stacks),
    )


def shown_output(records: JobPaths) -> str:
    """Both streams of a job in the order they spoke, as an agent may read them: their heads and tails."""
    stdout, stderr = (
        read_ends(path, head=_SHOWN_HEAD, tail=_SHOWN_TAIL)
        for path in (records.stdout, records.stderr)
    )
    return without_secrets(clean_output(interleave(stdout, stderr, read_text(records.turns))))


def explain(
    ended: JobExit,
    records: JobPaths,
    *,
    worktree: Path,
    editable: tuple[str, ...],
    limits: Limits,
    results_problem: Problem | None,
) -> Failure | None:
    """Why a job that has just ended failed; None where it did not."""
    return diagnose(
        gather(
            ended,
            records,
            root=str(worktree.absolute()),
            editable=editable,
            limits=limits,
            results_problem=results_problem,
            free_memory=available_memory(),
        )
    )


def read_events(records: JobPaths) -> JobEvents:
    """The last phase, device and model (or refusal of one), and every warning, of `events.jsonl`.

    The file is written by the experiment's own process, so nothing in it is believed beyond its shape.
    """
    phase = device = None
    model: ModelUse | None = None
    models: list[str] = []
    refused: ModelUse | None = None
    warnings: list[Problem] = []
    text = read_text(records.events) or read_strange(records.live_events, _MAX_EVENT_BYTES)
    for event in _lines(text):
        phase = _text(event.get("phase")) or phase
        device = _text(event.get("device")) or device
        used = event.get("model")
        if isinstance(used, dict):
            model = _model_use(used) or model
            if model is not None and model.granted not in models and len(models) < _MAX_WARNINGS:
                models.append(model.granted)
        if isinstance(refusal := event.get("model_refused"), dict):
            refused = _model_use({**refusal, "granted": "none"}) or refused
        warning = event.get("warning")
        if isinstance(warning, dict) and len(warnings) < _MAX_WARNINGS:
            warnings.append(
                Problem(
                    kind=_text(warning.get("code")) or "warning",
                    message=_text(warning.get("message")) or "",
                    severity="warning",
                )
            )
    return JobEvents(phase, device, model, tuple(models), refused, tuple(warnings))


def _log(path: Path) -> str:
    return read_ends(path, head=_HEAD_BYTES, tail=_TAIL_BYTES).decode("utf-8", "replace")


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
    reason, remedy = (_text(fields.get(name)) or "" for name in ("reason", "remedy"))
    return ModelUse(requested=requested, granted=granted, reason=reason, remedy=remedy)


def _text(value: object) -> str | None:
    return printable(value[:500]) if isinstance(value, str) and value else None
