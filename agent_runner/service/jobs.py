"""Running one job of an idea: a run, or a check before it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent_runner.errors import ExecutorError
from agent_runner.execution.cgroups import remove_orphans
from agent_runner.execution.environment import (
    build_environment,
    downloaded,
    interpreter_folders,
    resolve_argv,
)
from agent_runner.execution.job_files import BOX
from agent_runner.execution.scratch import linked_folder
from agent_runner.executors import Executor, Job
from agent_runner.leases import Cancelled, Lease, LeaseDesk
from agent_runner.models import hub_cache
from agent_runner.paths import Home, JobPaths
from agent_runner.records import Confinement, JobExit, JobSpec, Limits
from agent_runner.service import hub_caches
from agent_runner.service.evidence import read_events

# Called with (what is going on, detail) while a proposal is worked on; for people watching.
Progress = Callable[[str, str], None]

_POLL_S = 0.5  # how often a watcher hears of a new phase; the end of a job is noticed at once


@dataclass(frozen=True)
class JobRequest:
    """One command to run for an idea.

    label: what people who watch call it.
    out_dir: filled into the command; relative to the worktree, or absolute.
    level, digest: of isolation, and of the rules it stands for.
    gpus: how many it may use, or which part of one.
    writes: folders that this command may change beside its own.
    downloads: a folder, among these, below which it gets caches of the hub of its own (see `hub_caches`).
    cancelled: asked now and then; once it says yes, the job is cancelled.
    """

    idea: str
    label: str
    command: str
    out_dir: str
    worktree: Path
    records: JobPaths
    limits: Limits
    level: str
    digest: str | None = None
    gpus: float = 0
    network: bool = False
    writes: tuple[Path, ...] = ()
    downloads: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    cancelled: Callable[[], bool] = lambda: False


class StartFailed(ExecutorError):
    """A job was not started: there was no slot for it, or no supervisor."""


class JobRunner:
    """Runs jobs through an executor, each in its turn, with an environment built from an allow-list."""

    def __init__(
        self,
        executor: Executor,
        desk: LeaseDesk,
        interpreter: Path,
        home: Home,
        readable: tuple[Path, ...] = (),
    ) -> None:
        self._executor = executor
        self._desk = desk
        self.interpreter = interpreter
        self._home = home
        self._readable = readable

    def run(self, request: JobRequest, progress: Progress) -> JobExit:
        """Wait for a slot, start the job, and see to its end.

        Raises:
            StartFailed: nothing was started.
            ExecutorError: it was, and its end cannot be read now.
        """
        try:
            lease = self._desk.acquire(
                request.idea,
                request.gpus,
                label=request.label,
                cancelled=request.cancelled,
                progress=progress,
            )
        except Cancelled:
            return JobExit(reason="not_started", message="cancelled while it waited for a slot")
        except ExecutorError as error:
            raise StartFailed(error.message, error.remedy) from error
        with lease:
            job = self._start(request, lease)
            return wait(job, request.records, request.label, progress, request.cancelled)

    def _start(self, request: JobRequest, lease: Lease) -> Job:
        try:
            folder = request.records.folder.absolute()
            folder.mkdir(parents=True, exist_ok=True)
            lease.bind(folder)
            return self._executor.start(self._spec(request, lease))
        except ExecutorError as error:
            raise StartFailed(error.message, error.remedy) from error

    def _spec(self, request: JobRequest, lease: Lease) -> JobSpec:
        folder = request.records.folder.absolute()
        cache = self._home.cache.absolute()
        cache.mkdir(parents=True, exist_ok=True)
        environment = build_environment(
            record_dir=folder,
            cache_dir=cache,
            interpreter=self.interpreter,
            network=request.network,
            own_tmp=request.level not in ("L0", "L1"),
            extra={
                # Where the runner looks for models and fetches them, by all the rules of the hub's client.
                "HF_HUB_CACHE": str(hub_cache(os.environ)),
                **request.environment,
                **lease.environment,
            },
        )
        worktree = request.worktree.absolute()
        caches: tuple[Path, ...] = ()
        linked: tuple[str, ...] = ()
        if request.downloads is not None:
            own, caches = hub_caches.lay_out(
                environment, request.downloads.absolute(), shut_in=request.level != "L0"
            )
            environment |= own
        elif request.level != "L0":
            linked = _link_data_sets(environment, folder)
        out_dir, out = request.out_dir, None
        if request.level == "L1" and not Path(out_dir).is_absolute():
            # Landlock cannot allow a folder that does not exist yet: it is written elsewhere, and moved.
            out = out_dir = str(folder / BOX / "out" / out_dir)
        read = (
            *interpreter_folders(self.interpreter),
            *downloaded(environment),
            *caches,
            *self._readable,
        )
        return JobSpec(
            job_id=f"{request.idea}/{request.label}",
            argv=resolve_argv(request.command, out_dir, self.interpreter),
            cwd=str(worktree),
            env=environment,
            record_dir=str(folder),
            out_dir=str(worktree / request.out_dir) if "{out_dir}" in request.command else None,
            limits=request.limits,
            confinement=Confinement(
                level=request.level,
                digest=request.digest,
                read=tuple(str(path.absolute()) for path in (*read, cache)),
                write=tuple(str(path.absolute()) for path in request.writes),
                linked=linked,
                hidden=(str(self._home.root),),
                out=out,
                devices=lease.devices,
                network=request.network,
            ),
        )

    def clear(self) -> None:
        """Remove what jobs of supervisors that were killed have left in the kernel."""
        remove_orphans()

    def attach(self, records: JobPaths) -> Job:
        """The job that an earlier server process started."""
        return self._executor.attach(records.folder.absolute())


def _link_data_sets(environment: dict[str, str], record_dir: Path) -> tuple[str, ...]:
    """The library `datasets` locks a data set that it reads, in the folder where all of them are."""
    folder = environment.get("HF_DATASETS_CACHE")
    if not folder or not Path(folder).is_dir():
        return ()
    environment["HF_DATASETS_CACHE"] = linked_folder(str(record_dir), 0)
    return (folder,)


def wait(
    job: Job,
    records: JobPaths,
    label: str,
    progress: Progress,
    cancelled: Callable[[], bool] = lambda: False,
) -> JobExit:
    """Wait for the end of a job. An interrupt from the keyboard cancels it, and is not lost.

    cancelled: asked now and then; once it says yes, the job is cancelled.
    """
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
        if cancelled():
            progress(label, "cancelling")
            job.cancel()
        phase = read_events(records).phase
        if phase != told:
            told = phase
            progress(label, phase or "")
