"""One baseline per fingerprint: its shared inputs, then the template as it is, then how far that scatters.

It belongs to no idea. Whoever needs it first measures it, under its lock; the others wait for it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from agent_runner.paths import JobPaths, read_json, try_lock, write_json
from agent_runner.records import (
    Finding,
    Idea,
    Limits,
    ModelUse,
    Outcome,
    RunResult,
    Step,
)
from agent_runner.results import flat_metrics, noise_floor, read_results
from agent_runner.service.fingerprints import fingerprint
from agent_runner.service.jobs import JobRequest, Progress, StartFailed
from agent_runner.service.model_access import default_model
from agent_runner.service.runs import (
    RunSpec,
    execute,
    grant_environment,
    outcome_of,
    set_aside,
    stored_result,
)
from agent_runner.service.workspace import Workspace

_METRICS = "metrics.json"  # of one repeat, beside its job's records
_POLL_S = 0.2  # how soon a waiting idea hears of a free lock, or of its cancellation


@dataclass(frozen=True)
class SharedBaseline:
    """A baseline that is asked for: of which template, with which models, and by which attempt of an idea.

    fingerprint: taken once, before anything is measured; it must not change meanwhile.
    """

    workspace: Workspace
    idea: Idea
    grants: dict[str, ModelUse]
    fingerprint: str
    progress: Progress
    attempt: int = 0

    @property
    def records(self) -> JobPaths:
        return self.workspace.home.baseline(self.fingerprint)

    @property
    def worktree(self) -> str:
        return f"baseline-{self.fingerprint}"

    @contextlib.contextmanager
    def measured(self, *, repeat_failed: bool = True) -> Iterator[RunResult | None]:
        """Its result, measured now where none on record succeeded. The lock is held until the block ends.

        repeat_failed: also where one on record failed by the template's own doing.

        None where that was cancelled while another idea measured it.
        """
        lock = self.workspace.home.baseline_lock(self.fingerprint)
        with self._turn(lock, "baseline", "being measured for another idea; waiting") as ours:
            if not ours:
                yield None
                return
            result = stored_result(self.records)
            if result is None or not stands(result, repeat_failed):
                result = self._measure()
            else:
                self.progress("baseline", "already measured for this template, model and machine")
            yield self._with_noise(result)

    @contextlib.contextmanager
    def _turn(self, lock: Path, label: str, waiting: str) -> Iterator[bool]:
        """Hold a lock, once it is free; False, and not held, where the attempt was cancelled before."""
        told = False
        while True:
            with try_lock(lock) as ours:
                if ours:
                    yield True
                    return
            if self.workspace.is_cancelled(self.idea, self.attempt):
                yield False
                return
            if not told:
                self.progress(label, waiting)
                told = True
            time.sleep(_POLL_S)

    # ------------------------------------------------------------ measuring

    def _measure(self) -> RunResult:
        """Run the template in a worktree of its own, after its shared inputs were made."""
        workspace, idea = self.workspace, self.idea
        self._lay_out()
        end_orphans_of(workspace, self.records)
        _set_aside(self.records)
        cold = self._prepare(idea.template.prepare) if idea.template.prepare is not None else None
        spec = RunSpec(
            idea=idea,
            index=0,
            commit=idea.base_commit,
            tree=idea.base_tree,
            worktree=workspace.home.worktrees / self.worktree,
            records=self.records,
            grants=self.grants,
            attempt=self.attempt,
            fingerprint=self.fingerprint,
        )
        result = execute(workspace, spec, self.progress)
        extra = [finding for finding in (cold, self._moved()) if finding is not None]
        if extra:
            result = result.model_copy(update={"findings": (*result.findings, *extra)})
            write_json(self.records.result, result)
        return result

    def _moved(self) -> Finding | None:
        """What was measured while the environment changed belongs to neither of the two."""
        now = fingerprint(self.workspace, self.idea, default_model(self.grants))
        if now == self.fingerprint:
            return None
        return Finding(
            severity="fail",
            code="environment-changed",
            message="packages, the model or the machine were changed while this was measured, so it is not "
            "known what it is of; the next proposal has it measured anew",
        )

    def _lay_out(self) -> None:
        repository = self.workspace.repository
        if not (self.workspace.home.worktrees / self.worktree).exists():
            repository.add_worktree(self.worktree, self.idea.base_commit)
        changed = repository.changed_files(self.worktree)
        repository.restore(self.worktree, self.idea.base_commit, changed)

    def _prepare(self, step: Step) -> Finding | None:
        """Fill the shared inputs. A failure here is not fatal: each run then makes them for itself.

        One at a time, of all baselines: a sandbox opens the cache to its own user, and closes it at its end.
        """
        lock = self.workspace.home.cache_lock
        waiting = "the shared inputs are being filled for another baseline; waiting"
        with self._turn(lock, "prepare", waiting) as ours:
            if not ours:
                return None
            self.progress("prepare", step.command)
            ended = self.workspace.jobs.run(self._preparation(step), self.progress)
        if ended.returncode == 0:
            return None
        self.progress(
            "prepare", f"failed ({ended.reason}); the baseline goes on without shared inputs"
        )
        return Finding(
            severity="warn",
            code="cold-cache",
            message=f"the shared inputs could not be made ahead ({ended.reason}, see prepare/stderr.log "
            "beside the baseline's records): every run makes them for itself, which takes longer",
        )

    def _preparation(self, step: Step) -> JobRequest:
        """The job that fills the shared inputs: the only one that may write to them."""
        template, cache = self.idea.template, self.workspace.home.cache
        request = self._request(
            "prepare",
            step.command,
            "",
            JobPaths(self.records.folder / "prepare"),
            Limits(time_s=step.time_s),
            step.env,
        )
        request = replace(request, writes=(cache,))
        if not (step.network or template.resources.network):
            return request
        environment = dict(request.environment)
        # The step may need network for something else than the hub.
        if self.workspace.machine(template).offline:
            environment |= {"HF_HUB_OFFLINE": "1"}
        return replace(
            request, network=True, downloads=self.workspace.home.hub_data, environment=environment
        )

    # ------------------------------------------------------------ how far it scatters

    def _with_noise(self, result: RunResult) -> RunResult:
        """The result with its noise floor, measured once where the template says how."""
        step = self.idea.template.noise
        if step is None or result.noise is not None or result.outcome is not Outcome.SUCCEEDED:
            return result
        repeats, problem = [result.metrics], None
        for offset in step.seeds:
            self.progress("noise floor", f"the baseline with its seeds moved by {offset}")
            try:
                metrics, problem = self._repeat(offset)
            except (
                StartFailed
            ) as error:  # the machine's doing: it is measured by whoever comes next
                self.progress("noise floor", f"not measured: {error.message}")
                return result
            if problem is not None:
                break
            if metrics is None or self._moved() is not None:  # not the template's own doing
                return result
            repeats.append(metrics)
        seeds = (0, *step.seeds)[: len(repeats)]
        result = result.model_copy(update={"noise": noise_floor(repeats, seeds, problem)})
        write_json(self.records.result, result)
        return result

    def _repeat(self, offset: int) -> tuple[dict[str, float] | None, str | None]:
        """The baseline's metrics with other seeds, as on record or measured now.

        Else why the template gives none; neither where it was cancelled, or ended by something else.
        """
        out_dir = f"noise_{offset}"
        records = JobPaths(self.records.folder / "noise" / str(offset))
        if (known := read_json(records.folder / _METRICS)) is not None:
            return known, None
        _end(self.workspace, records)  # of a server that was killed
        set_aside(records.folder)
        self._lay_out()
        set_aside(self.workspace.home.worktrees / self.worktree / out_dir)
        template = self.idea.template
        environment = {"AGENT_RUNNER_SEED_OFFSET": str(offset)}
        request = self._request(
            out_dir, template.command, out_dir, records, template.limits, environment
        )
        ended = self.workspace.jobs.run(request, self.progress)
        results = read_results(
            self.workspace.home.worktrees / self.worktree / out_dir, not_before_ns=None
        )
        outcome = outcome_of(ended, failed=ended.returncode != 0)
        what = f"the baseline with its seeds moved by {offset}"
        if outcome not in (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.TIMED_OUT):
            self.progress("noise floor", f"not measured: {outcome}")
            return None, None
        if outcome is not Outcome.SUCCEEDED:
            return None, f"{what} {outcome.replace('_', ' ')} ({ended.reason})"
        if results.info is None:
            return None, f"{what}: {results.problem.message if results.problem else 'no results'}"
        metrics = flat_metrics(results.info)
        write_json(records.folder / _METRICS, metrics)
        return metrics, None

    def _request(
        self,
        label: str,
        command: str,
        out_dir: str,
        records: JobPaths,
        limits: Limits,
        environment: dict[str, str],
    ) -> JobRequest:
        workspace, template = self.workspace, self.idea.template
        level = workspace.level(template, self.idea.sandbox)
        return JobRequest(
            idea=self.idea.id,
            label=label,
            command=command,
            out_dir=out_dir,
            worktree=workspace.home.worktrees / self.worktree,
            records=records,
            limits=limits,
            level=level,
            digest=workspace.sandboxing.report(level).digest,
            gpus=template.resources.gpus,
            network=template.resources.network,
            environment={**environment, **grant_environment(self.grants)},
            cancelled=partial(workspace.is_cancelled, self.idea, self.attempt),
        )


def stands(recorded: RunResult, repeat_failed: bool) -> bool:
    """Whether a baseline on record is the answer, and no other is to be measured.

    A failure is, where it was the template's own doing and no other attempt is asked for; one that was
    cancelled, or that the machine has caused, says nothing of the template.
    """
    if recorded.outcome is Outcome.SUCCEEDED:
        return True
    if repeat_failed or recorded.outcome is Outcome.CANCELLED:
        return False
    return recorded.failure is not None and recorded.failure.charged


def end_orphans(workspace: Workspace) -> None:
    """End baselines that go on although nobody is there any more who would take their results."""
    for lock in workspace.home.baseline_locks():
        with try_lock(lock) as ours:  # held until it has ended: a new one may be about to start
            if ours:
                end_orphans_of(workspace, workspace.home.baseline(lock.stem))


def end_orphans_of(workspace: Workspace, shared: JobPaths) -> None:
    """A server that was killed may have left its baseline running, and nobody to take its result."""
    repeats = [JobPaths(folder) for folder in sorted(shared.folder.glob("noise/*"))]
    for records in (shared, JobPaths(shared.folder / "prepare"), *repeats):
        _end(workspace, records)


def _end(workspace: Workspace, records: JobPaths) -> None:
    if records.started.exists():
        job = workspace.jobs.attach(records)
        job.cancel()
        job.wait()


def _set_aside(records: JobPaths) -> None:
    """Keep what is left of an earlier baseline below `earlier-<n>`: a new one starts with no records."""
    if not records.folder.exists():
        return
    earlier = set(records.folder.glob("earlier-*"))
    current = set(records.folder.iterdir()) - earlier
    if not current:
        return
    target = records.folder / f"earlier-{len(earlier) + 1}"
    target.mkdir()
    # The result first: a server that is killed over this leaves nothing that looks complete.
    for path in sorted(current, key=lambda path: path != records.result):
        path.rename(target / path.name)
