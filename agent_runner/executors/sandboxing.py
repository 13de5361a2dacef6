"""Which levels of isolation work on this machine: each is tried by a real job before it is relied on.

That a level works is kept in a file beside the home's other state, and asked anew after a restart of the
machine, an upgrade of the kernel, of bubblewrap or of this package. Nothing is ever lowered silently: a level
that does not work is refused, and every run records the level that it had.
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

from agent_runner.errors import SandboxUnavailable, UsageError
from agent_runner.execution import (
    bubblewrap,
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
from agent_runner.records import Confinement, JobSpec, LevelReport, Limits

LEVELS = ("L0", "L1", "L2", "L3")
_TIME_S = 20.0


class Sandboxing:
    """The levels of this machine, tried once and remembered in `file`, or only by this object without one."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._tried: dict[str, LevelReport] = {}

    def choose(self, wanted: str, least: str) -> str:
        """The level to run at: `wanted`, or for `auto` the highest that works.

        Raises:
            UsageError: there is no such level.
            SandboxUnavailable: it does not work here, or is less than `least`.
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
            report = self.report(level)
            if report.works:
                return level
            reasons.append(f"{level} does not work here: {report.reason}")
        raise SandboxUnavailable(
            f"no run can be started in a sandbox as asked: {'; '.join(reasons)}",
            "`agent-runner doctor` shows every level and what it lacks (often: apt-get install bubblewrap). "
            "Where you trust the code that will be run, ask for a lower level (--sandbox, "
            "AGENT_RUNNER_SANDBOX, AGENT_RUNNER_REQUIRE_LEVEL). Nothing was run and nothing charged.",
        )

    def report(self, level: str) -> LevelReport:
        """Whether a level works here, from memory or tried now."""
        if level not in self._tried:
            key = _machine_key()
            self._tried = self._remembered(key) | self._tried
            if level not in self._tried:
                self._tried[level] = _try(level)
                self._remember(key)
        return self._tried[level]

    def reports(self) -> list[LevelReport]:
        """All levels, tried anew."""
        self._tried = {level: _try(level) for level in LEVELS}
        self._remember(_machine_key())
        return list(self._tried.values())

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


def _try(level: str) -> LevelReport:
    """Run the probes in a job of that level."""
    digest = _profile()
    if level == "L0":
        reason = "limits and a clean environment; no sandbox"
        return LevelReport(level=level, works=True, reason=reason, digest=digest)
    try:
        answers = _probe(level)
    except Exception as error:  # whatever goes wrong in the trial: the level cannot be relied on
        return LevelReport(level=level, works=False, reason=str(error), digest=digest)
    faults = [f"{name}: {found}" for name, found in answers.items() if found]
    return LevelReport(
        level=level,
        works=not faults,
        reason="; ".join(faults) or f"{len(answers)} probes as they have to be",
        digest=digest,
    )


def _probe(level: str) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="agent_runner.") as folder, _listener() as port:
        base = Path(folder).resolve()
        secret = base / "secret"
        secret.write_text("must not be read")
        worktree, record = base / "worktree", base / "record"
        worktree.mkdir()
        out_dir = worktree / "run_1"
        arguments = (str(secret), str(base), str(port), str(os.getpid()), str(out_dir))
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
        if ended.returncode != 0:
            said = (record / "stderr.log").read_text(errors="replace").strip().splitlines()
            why = ended.message or (said[-1] if said else f"it ended with {ended.returncode}")
            raise RuntimeError(f"the self-test did not run: {why}")
        answers = json.loads((record / "stdout.log").read_text())
        return {str(name): str(found) for name, found in answers.items()}


@contextlib.contextmanager
def _listener() -> Iterator[int]:
    """A server on the loopback; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
