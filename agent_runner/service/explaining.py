"""Explaining what is over: the diagnosis of a finished run, or of a log that somebody saved."""

from __future__ import annotations

from pathlib import Path

from agent_runner.errors import UsageError
from agent_runner.execution import job_files
from agent_runner.failures import diagnose, explain_log
from agent_runner.paths import JobPaths, read_json
from agent_runner.records import Explanation, Failure, Idea, JobExit, JobSpec, Problem
from agent_runner.results import read_results
from agent_runner.service import telling
from agent_runner.service.evidence import gather
from agent_runner.service.runs import stored_result

_HEAD_BYTES, _TAIL_BYTES = 256_000, 1_000_000
_EDITABLE = ("experiment.py", "plot.py")
_LEVELS_BELOW_IDEA = 3  # attempts/<n>/preflight


def explain_path(path: Path, *, returncode: int | None = None) -> Explanation:
    """Say why a run failed, from its record folder, its output folder in a worktree, or a saved log.

    path: `HOME/ideas/<idea>/runs/<i>`, `attempts/<n>` (its last check), `baselines/<fingerprint>`, the
        `run_<i>` of a worktree, or a text file that holds the output.
    returncode: of the process that wrote the log, where that is known.

    Raises:
        UsageError: there is nothing to explain: no such path, no logs, or a run that goes on.
    """
    try:
        if path.is_dir():
            return _of_folder(path)
        text = read_bounded(path)
    except (OSError, ValueError) as error:  # ValueError: a record that is none
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"{path} cannot be read: {why}",
            "Name a run's record folder (`links.logs` of its Observation), or a log file.",
        ) from error
    return explain_text(text, str(path), returncode=returncode)


def explain_text(text: str, source: str, *, returncode: int | None = None) -> Explanation:
    """The diagnosis of a log."""
    failure = explain_log(text, returncode=returncode, editable=_EDITABLE)
    return _told(source, None, failure)


def read_bounded(path: Path) -> str:
    """Text of a log of any size: all of it, or its head and its tail with a line between them.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES + _TAIL_BYTES)
        size = file.seek(0, 2) if file.seekable() else len(head)
        if size <= len(head):
            return head.decode("utf-8", "replace")
        file.seek(-_TAIL_BYTES, 2)
        tail = file.read()
    dropped = size - _HEAD_BYTES - len(tail)
    note = f"\n... ({dropped} bytes left out) ...\n".encode()
    return (head[:_HEAD_BYTES] + note + tail).decode("utf-8", "replace")


def _of_folder(folder: Path) -> Explanation:
    records = _records(folder)
    if job_files.is_locked(str(records.folder / job_files.LOCK)):
        raise UsageError(f"{folder} is a run that goes on", "Ask again when it has ended.")
    stored = stored_result(records)
    ended = _exit(records)
    if stored is not None:
        return _told(str(folder), ended, stored.failure)
    spec = read_json(records.folder / job_files.SPEC)
    if spec is None and ended is None:
        text = "\n".join(read_bounded(log) for log in _logs(records) if log.exists())
        return explain_text(text, str(folder))
    job = JobSpec.model_validate(spec) if spec is not None else None
    evidence = gather(
        ended,
        records,
        root=job.cwd if job else "",
        editable=_editable(records.folder),
        limits=job.limits if job else None,
        results_problem=_results_problem(job),
        free_memory=None,  # what was free then is not on record
    )
    return _told(str(folder), ended, diagnose(evidence))


def _records(folder: Path) -> JobPaths:
    """The record folder that is meant: itself, the last check of an attempt, or that of a worktree's run_i."""
    for within in (folder, folder / "smoke", folder / "preflight"):  # the latter two of an attempt
        records = JobPaths(within)
        if any(log.exists() for log in _logs(records)):
            return records
    place = folder.absolute()
    if place.name.startswith("run_") and place.parent.parent.name == "worktrees":
        home, idea, index = place.parents[2], place.parent.name, place.name.removeprefix("run_")
        records = JobPaths(home / "ideas" / idea / "runs" / index)
        if any(log.exists() for log in _logs(records)):
            return records
    raise UsageError(
        f"{folder} holds no record of a run: neither stdout.log nor stderr.log",
        "Name a run's record folder (`links.logs` of its Observation), or a log file.",
    )


def _logs(records: JobPaths) -> tuple[Path, Path]:
    return records.stdout, records.stderr


def _exit(records: JobPaths) -> JobExit | None:
    stored = read_json(records.folder / job_files.EXIT)
    return JobExit.model_validate(stored) if stored is not None else None


def _editable(folder: Path) -> tuple[str, ...]:
    for parent in list(folder.absolute().parents)[:_LEVELS_BELOW_IDEA]:
        stored = read_json(parent / "idea.json")
        if stored is not None:
            return Idea.model_validate(stored).template.editable
    return _EDITABLE


def _results_problem(job: JobSpec | None) -> Problem | None:
    if job is None or job.out_dir is None:
        return None
    return read_results(Path(job.out_dir), not_before_ns=None).problem


def _told(source: str, ended: JobExit | None, failure: Failure | None) -> Explanation:
    if failure is None:
        message = "Nothing failed: it ended with code 0, and its results can be used."
    else:
        evidence = [f"    {line}" for line in failure.evidence]
        cost = "uses" if failure.charged else "uses no"
        message = "\n".join(
            [
                telling.failure_text(failure),
                *(["Evidence:", *evidence] if evidence else []),
                f"A run that ends so {cost} budget: {failure.charged_reason}.",
            ]
        )
    return Explanation(source=source, exit=ended, failure=failure, message=message)
