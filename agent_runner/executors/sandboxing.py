"""Which levels of isolation work on this machine: each is tried by a real job before it is relied on.

That a level works is kept in a file beside the home's other state, and asked anew after a restart of the
machine, an upgrade of the kernel, of bubblewrap or of this package. Nothing is ever lowered silently: a level
that does not work is refused, `auto` can say why it went no higher (`why_not_higher`), and every run records
the level that it had. A trial that could not be carried out says nothing of its level: then nothing is chosen.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import socket
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from agent_runner.errors import ExecutorError, SandboxUnavailable, UsageError
from agent_runner.execution import (
    bubblewrap,
    cgroups,
    child,
    inside,
    landlock,
    privileges,
    probes,
    process_tree,
    scratch,
    seccomp,
    shutting_in,
    visible,
)
from agent_runner.executors.local import LocalExecutor
from agent_runner.paths import read_json, write_json
from agent_runner.records import Confinement, JobExit, JobSpec, LevelReport, Limits

LEVELS = ("L0", "L1", "L2", "L3")
_TIME_S = 20.0
# How the start of a job tells that the machine is short of something for the moment.
_SHORT_OF = tuple(map(os.strerror, probes.SHORT_OF))
# How `child` begins to tell of a sandbox that did not come to stand, before the sandbox's own words.
_UNSAID = ("the sandbox could not be set up", "the sandbox ended before")


class TrialFailed(Exception):
    """The trial of a level could not be carried out, which says nothing of the level."""


class _Lacking(Exception):
    """The level cannot be had here: something that it needs is missing or forbidden."""


class Sandboxing:
    """The levels of this machine, tried once and remembered in `file`, or only by this object without one."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._tried: dict[str, LevelReport] = {}

    def choose(self, wanted: str, least: str) -> str:
        """The level to run at: `wanted`, or for `auto` the highest that works (see `why_not_higher`).

        Raises:
            UsageError: there is no such level.
            SandboxUnavailable: it does not work here, is less than `least`, or could not be tried.
        """
        if wanted != "auto" and wanted not in LEVELS:
            raise UsageError(
                f"there is no sandbox level {wanted!r}", f"Levels: auto, {', '.join(LEVELS)}."
            )
        candidates = reversed(LEVELS) if wanted == "auto" else [wanted]
        reasons = []
        for level in candidates:
            if LEVELS.index(level) < LEVELS.index(least):
                reasons.append(f"{level} is less than {least}, which is required")
                break
            try:
                report = self._ask(level)
            except TrialFailed as error:
                raise SandboxUnavailable(
                    f"no run can be started in a sandbox as asked: whether {level} works here could not be "
                    f"tried: {error}",
                    "Repeat it, and see `agent-runner doctor` if it stays so; a full /tmp and a busy machine "
                    "are the usual causes. Nothing was run and nothing charged.",
                ) from error
            if report.works:
                return level
            reasons.append(f"{level} does not work here: {report.reason}")
        raise SandboxUnavailable(
            f"no run can be started in a sandbox as asked: {'; '.join(reasons)}",
            "`agent-runner doctor` shows every level and what it lacks (often: apt-get install bubblewrap). "
            "Where you trust the code that will be run, ask for a lower level (--sandbox, "
            "AGENT_RUNNER_SANDBOX, AGENT_RUNNER_REQUIRE_LEVEL). Nothing was run and nothing charged.",
        )

    def why_not_higher(self, level: str) -> str:
        """Why `auto` went no higher than this level; empty where no higher one was found lacking."""
        higher = LEVELS[LEVELS.index(level) + 1 :]
        lacking = [r for n in higher if (r := self._tried.get(n)) is not None and not r.works]
        return "; ".join(f"{r.level} does not work here: {r.reason}" for r in lacking)

    def report(self, level: str) -> LevelReport:
        """Whether a level works here, from memory or tried now."""
        try:
            return self._ask(level)
        except TrialFailed as error:
            return _not_tried(level, error)

    def _ask(self, level: str) -> LevelReport:
        """As `report`. Raises TrialFailed, and then nothing is remembered."""
        if level not in self._tried:
            key = _machine_key()
            self._tried = self._remembered(key) | self._tried
            if level not in self._tried:
                self._tried[level] = _try(level)
                self._remember(key)
        return self._tried[level]

    def reports(self) -> list[LevelReport]:
        """All levels, tried anew."""
        self._tried, reports = {}, []
        for level in LEVELS:
            try:
                reports.append(_try(level))
                self._tried[level] = reports[-1]
            except TrialFailed as error:
                reports.append(_not_tried(level, error))
        self._remember(_machine_key())
        return reports

    def _remembered(self, key: str) -> dict[str, LevelReport]:
        try:
            stored = read_json(self._file) if self._file else None
            if not isinstance(stored, dict) or stored.get("machine") != key:
                return {}
            reports = {n: LevelReport.model_validate(v) for n, v in stored["levels"].items()}
            return {n: report for n, report in reports.items() if report.works}
        except (OSError, ValueError, KeyError, AttributeError, RecursionError):
            return {}

    def _remember(self, key: str) -> None:
        # What was lacking may be there the next time.
        values = {n: report.model_dump() for n, report in self._tried.items() if report.works}
        if self._file is not None:
            with contextlib.suppress(OSError):  # then it is tried again next time
                write_json(self._file, {"machine": key, "levels": values})


def _machine_key() -> str:
    """What the answers depend on."""
    program = bubblewrap.program()
    status = os.stat(program) if program else None
    parts = (
        metadata.version("agent-experiment-runner"),
        platform.release(),
        process_tree.boot_id(),
        os.geteuid(),
        os.path.realpath(sys.executable),
        (status.st_size, status.st_mtime_ns) if status else None,
        _profile(),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _profile() -> str:
    """A digest of what the levels consist of: it changes when a rule does."""
    with contextlib.suppress(seccomp.UnsupportedMachine):
        sources = (
            *(bubblewrap, visible, scratch, inside, shutting_in, landlock, privileges, child),
            probes,
        )
        parts = [seccomp.program(), *(Path(str(m.__file__)).read_bytes() for m in sources)]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    return platform.machine()


def _not_tried(level: str, error: TrialFailed) -> LevelReport:
    reason = f"it could not be tried: {error}"
    return LevelReport(level=level, works=False, reason=reason, digest=_profile())


def _try(level: str) -> LevelReport:
    """Run the probes in a job of that level.

    Raises:
        TrialFailed: they could not be run, for a reason that is not the level's.
    """
    digest = _profile()
    if level == "L0":
        reason = "limits and a clean environment; no sandbox"
        return LevelReport(level=level, works=True, reason=reason, digest=digest)
    if reason := _plainly_lacking(level):
        return LevelReport(level=level, works=False, reason=reason, digest=digest)
    try:
        answers = _probe(level)
    except _Lacking as error:
        return LevelReport(level=level, works=False, reason=str(error), digest=digest)
    except (OSError, ValueError, ExecutorError) as error:
        raise TrialFailed(str(error)) from error
    faults = [f"{name}: {found}" for name, found in answers.items() if found]
    return LevelReport(
        level=level,
        works=not faults,
        reason="; ".join(faults) or f"{len(answers)} probes as they have to be",
        digest=digest,
    )


def _plainly_lacking(level: str) -> str:
    """What can be seen to be missing without a trial: what is lacking is looked for anew by every command."""
    if level == "L1" and landlock.abi() < shutting_in.LEAST_ABI:
        return f"the kernel's Landlock is of version {landlock.abi()}, {shutting_in.LEAST_ABI} is needed"
    if level in ("L2", "L3") and bubblewrap.program() is None:
        return "bubblewrap (bwrap) is not installed"
    return (cgroups.why_unavailable() or "") if level == "L3" else ""


def _probe(level: str) -> dict[str, str]:
    """What each probe found in a job of that level.

    Raises:
        _Lacking: no job can be run at that level here.
        TrialFailed, OSError, ValueError, ExecutorError: there was no answer this time.
    """
    with tempfile.TemporaryDirectory(prefix="agent_runner.") as folder, _listener() as port:
        base = Path(folder).resolve()
        secret = base / "secret"
        secret.write_text("must not be read")
        worktree, record = base / "worktree", base / "record"
        worktree.mkdir()
        out_dir = worktree / "run_1"
        server = process_tree.find(os.getpid())
        who = (str(os.getpid()), str(server.start if server else 0))
        arguments = (str(secret), str(base), str(port), *who, str(out_dir))
        spec = JobSpec(
            job_id=f"self-test {level}",
            argv=(visible.INTERPRETER, "-I", "-S", str(Path(probes.__file__)), *arguments),
            cwd=str(worktree),
            env={
                "PATH": os.defpath,
                "HOME": str(record / "box" / "home"),
                "TMPDIR": "/tmp" if level != "L1" else str(record / "box" / "home"),
                "AGENT_RUNNER_RECORD_DIR": str(record / "job"),
            },
            record_dir=str(record),
            out_dir=str(out_dir),
            limits=Limits(time_s=_TIME_S, memory_mb=1024, processes=64),
            confinement=Confinement(level=level),
        )
        ended = LocalExecutor().start(spec).wait()
        assert ended is not None
        if ended.returncode != 0 or ended.reason != "exited":
            said = (record / "stderr.log").read_text(errors="replace").strip().splitlines()
            raise _fault(ended, said[-1] if said else "")
        answers = json.loads((record / "stdout.log").read_text())
        return {str(name): str(found) for name, found in answers.items()}


def _fault(ended: JobExit, said: str) -> Exception:
    """What a self-test that did not run to its end says of its level."""
    why = ended.message or said or f"{ended.reason}, {ended.signal or ended.returncode}"
    text = f"the self-test did not run: {why}"
    if ended.reason == "not_started":
        # A sandbox that cannot be had says why; one that came too late, or was killed, says nothing.
        unsaid = why.startswith(_UNSAID) and "bwrap:" not in why
        not_now = unsaid or any(short in why for short in _SHORT_OF)
    else:
        killed = ended.signal in ("SIGKILL", "SIGTERM")
        not_now = ended.reason != "exited" or killed or ended.returncode == probes.EXIT_NOT_NOW
    return TrialFailed(text) if not_now else _Lacking(text)


@contextlib.contextmanager
def _listener() -> Iterator[int]:
    """A server on the loopback; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
