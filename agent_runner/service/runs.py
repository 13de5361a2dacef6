"""One run of an experiment, from its start to its record."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from agent_runner.execution.job_files import SPEC
from agent_runner.paths import JobPaths, read_json, sync_tree, write_atomic, write_json
from agent_runner.records import (
    Idea,
    JobExit,
    ModelUse,
    Outcome,
    Problem,
    ResourceUse,
    RunResult,
    Sandbox,
)
from agent_runner.results import check_history, read_results
from agent_runner.service.evidence import explain, read_events
from agent_runner.service.jobs import JobRequest, Progress, wait
from agent_runner.service.measuring import Reference, measure
from agent_runner.service.workspace import Workspace

_GRANTS = "AGENT_RUNNER_MODELS"  # the variable by which the template's harness learns of them

# Signals by which a program ends itself; every other one was sent to it.
_CRASH_SIGNALS = {"SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS", "SIGTRAP"}


@dataclass(frozen=True)
class RunSpec:
    """Where one run happens and what it is compared with."""

    idea: Idea
    index: int
    commit: str
    tree: str
    worktree: Path
    records: JobPaths
    grants: dict[str, ModelUse]
    attempt: int = 0  # of which it is the run; 0 for the baseline
    seed_offset: int = 0  # added to every seed that the template's harness sets
    fingerprint: str | None = None
    reference: Reference | None = None

    @property
    def label(self) -> str:
        return f"run_{self.index}" if self.index else "baseline"

    @property
    def out_dir(self) -> Path:
        return self.worktree / f"run_{self.index}"


def execute(workspace: Workspace, spec: RunSpec, progress: Progress) -> RunResult:
    """Start the experiment, wait for the end of its whole process tree, and record what came of it."""
    set_aside(spec.out_dir)
    template = spec.idea.template
    command = template.command.format(out_dir=f"run_{spec.index}")
    progress(spec.label, command)
    level = workspace.level(template, spec.idea.sandbox)
    request = JobRequest(
        idea=spec.idea.id,
        label=spec.label,
        command=template.command,
        out_dir=f"run_{spec.index}",
        worktree=spec.worktree,
        records=spec.records,
        limits=template.limits,
        level=level,
        digest=workspace.sandboxing.report(level).digest,
        gpus=template.resources.gpus,
        network=template.resources.network,
        environment={
            **grant_environment(spec.grants),
            **({"AGENT_RUNNER_SEED_OFFSET": str(spec.seed_offset)} if spec.seed_offset else {}),
        },
        cancelled=partial(workspace.is_cancelled, spec.idea, spec.attempt),
    )
    return conclude(workspace, spec, workspace.jobs.run(request, progress))


def adopt(workspace: Workspace, spec: RunSpec, progress: Progress) -> RunResult:
    """Take over a run that another server started: wait for its end, or take in what it left."""
    job = workspace.jobs.attach(spec.records)
    asked = partial(workspace.is_cancelled, spec.idea, spec.attempt)
    return conclude(workspace, spec, wait(job, spec.records, spec.label, progress, asked))


def conclude(workspace: Workspace, spec: RunSpec, ended: JobExit) -> RunResult:
    """Turn what a finished job left behind into a RunResult, and store it. Repeatable."""
    template = spec.idea.template
    events = read_events(spec.records)
    results = read_results(spec.out_dir, not_before_ns=_start_ns(spec.records))
    if results.sha256 is not None:
        _keep(workspace.home.blob(results.sha256), results.data)
    failure = explain(
        ended,
        spec.records,
        worktree=spec.worktree,
        editable=template.editable,
        limits=template.limits,
        results_problem=_tampering(workspace, spec) or results.problem,
    )
    outcome = outcome_of(ended, failed=failure is not None)
    cut_short = outcome is Outcome.TIMED_OUT or ended.soft_deadline_sent
    info = results.info if failure is None or outcome is Outcome.TIMED_OUT else None
    grants = given_grants(spec.records)
    measured = measure(info, events, grants, spec.reference, outcome, cut_short=cut_short)
    result = RunResult(
        index=spec.index,
        outcome=outcome,
        returncode=ended.returncode,
        signal=ended.signal,
        seconds=round(ended.seconds, 3),
        phase=events.phase,
        commit=spec.commit,
        tree=spec.tree,
        diff_stat=workspace.repository.diff_stat(spec.idea.base_commit, spec.commit),
        metrics=measured.metrics,
        comparison=measured.comparison,
        findings=measured.findings,
        failure=failure,
        model=measured.model,
        fingerprint=measured.fingerprint(spec.reference, spec.fingerprint),
        resources=ResourceUse(
            peak_memory_bytes=ended.peak_memory_bytes,
            output_bytes=ended.stdout_bytes + ended.stderr_bytes,
            dropped_bytes=ended.dropped_bytes,
        ),
        sandbox=_sandbox(spec.records),
        environment={
            "interpreter": str(workspace.jobs.interpreter),
            "device": events.device,
            "results_sha256": results.sha256,
        },
    )
    beside_others = check_history(result, _earlier(workspace, spec), limits=template.limits)
    result = result.model_copy(update={"findings": (*result.findings, *beside_others)})
    if info is not None:
        write_atomic(spec.records.final_info, json.dumps(info, indent=2).encode() + b"\n")
    write_json(spec.records.result, result)
    return result


def _earlier(workspace: Workspace, spec: RunSpec) -> list[RunResult]:
    """The idea's runs before this one, the baseline among them."""
    rows = workspace.ledger.runs(spec.idea.id) if spec.index else ()
    paths = workspace.paths(spec.idea)
    found = (stored_result(paths.run(row.number)) for row in rows if row.number < spec.index)
    return [result for result in found if result is not None]


def _keep(path: Path, data: bytes) -> None:
    """Store the bytes once; what is later said of a run's numbers can be checked against them."""
    if not path.exists():
        write_atomic(path, data)


def _sandbox(records: JobPaths) -> Sandbox:
    """The isolation that the run had, as its supervisor recorded it at the start."""
    started = read_json(records.started)
    if not isinstance(started, dict):
        return Sandbox()
    return Sandbox(level=str(started.get("level") or "L0"), digest=started.get("digest"))


def _tampering(workspace: Workspace, spec: RunSpec) -> Problem | None:
    """Results cannot be trusted when the run itself has rewritten what it was measured with."""
    editable = spec.idea.template.editable
    changed = [
        n for n in workspace.repository.changed_files(spec.worktree.name) if n not in editable
    ]
    if not changed:
        return None
    return Problem(
        kind="locked_files_changed",
        message="while it ran, the experiment changed locked files, which decide what is measured: "
        f"{', '.join(changed[:10])}. They are put back before the next run",
    )


def outcome_of(ended: JobExit, *, failed: bool) -> Outcome:
    """The end of a job in one word."""
    by_runner = {
        "timeout": Outcome.TIMED_OUT,
        "no_output": Outcome.TIMED_OUT,
        "cancelled": Outcome.CANCELLED,
        "lost": Outcome.LOST,
        "not_started": Outcome.NOT_STARTED,
    }
    if ended.reason in by_runner:
        return by_runner[ended.reason]
    if ended.reason == "exited" and ended.signal and ended.signal not in _CRASH_SIGNALS:
        return Outcome.KILLED
    return Outcome.FAILED if failed else Outcome.SUCCEEDED


def charge(run: RunResult) -> tuple[bool, str]:
    """Whether a finished run uses budget, and why."""
    if run.outcome is Outcome.SUCCEEDED:
        return True, f"run_{run.index} ran to its end"
    if run.failure is not None:
        return run.failure.charged, run.failure.charged_reason
    return False, f"run_{run.index} {run.outcome}"


def grant_environment(grants: Mapping[str, ModelUse]) -> dict[str, str]:
    """How the template's harness learns which model each name stands for."""
    if not grants:
        return {}
    answers = {
        name: {"granted": use.granted or None, "reason": use.reason, "remedy": use.remedy}
        for name, use in grants.items()
    }
    return {_GRANTS: json.dumps(answers)}


def given_grants(records: JobPaths) -> dict[str, ModelUse]:
    """What the job was told of its models when it was started; by now another decision might be made."""
    try:
        spec = read_json(records.folder / SPEC) or {}
        answers = json.loads(spec["env"][_GRANTS])
        return {
            name: ModelUse.model_validate(
                {**answer, "requested": name, "granted": answer["granted"] or ""}
            )
            for name, answer in answers.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def set_aside(out_dir: Path) -> None:
    """A job starts with no output folder; what stands there is kept under another name."""
    if out_dir.exists() or out_dir.is_symlink():
        out_dir.rename(out_dir.with_name(f"{out_dir.name}.before-{time.time_ns()}"))


def _start_ns(records: JobPaths) -> int | None:
    """When the job's record folder got its spec: results older than that are not this run's."""
    try:
        return (records.folder / SPEC).stat().st_mtime_ns
    except OSError:
        return None


def copy_records(source: JobPaths, target: JobPaths, *, earlier: Path) -> None:
    """Give an idea its own copy of a shared baseline's record; the one before is kept as `earlier/<n>`.

    The copy is made below `earlier` and takes its place only when it is whole and on disk. What the shared
    record keeps of earlier baselines, and of the runs that its noise floor was measured by, is not copied.
    """
    copy = earlier / "copying"
    if copy.exists():  # of a server that was killed over it
        shutil.rmtree(copy)
    kept = [path.name for path in source.folder.glob("earlier-*")] + ["noise"]
    shutil.copytree(
        source.folder,
        copy,
        symlinks=True,
        ignore=lambda folder, _: kept if Path(folder) == source.folder else [],
    )
    sync_tree(copy)
    if target.folder.exists():
        number = sum(1 for path in earlier.iterdir() if path.name.isdecimal()) + 1
        target.folder.rename(earlier / str(number))
    target.folder.parent.mkdir(parents=True, exist_ok=True)
    copy.rename(target.folder)
    sync_tree(target.folder)  # its name, too, is on disk before the ledger speaks of it


def stored_result(records: JobPaths) -> RunResult | None:
    """The result on record; one that cannot be read is as good as none: it is made from the records anew."""
    try:
        stored = read_json(records.result)
        return RunResult.model_validate(stored) if stored is not None else None
    except (ValueError, ValidationError):
        return None
