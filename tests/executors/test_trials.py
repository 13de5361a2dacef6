"""The trial of a level: what its probes find, and what an end without an answer says of the level."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from agent_runner.errors import ExecutorError
from agent_runner.execution import bubblewrap, cgroups, landlock, probes, process_tree
from agent_runner.executors import Sandboxing, sandboxing
from agent_runner.executors.local import LocalExecutor
from agent_runner.records import JobExit, JobSpec


def test_a_trial_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandboxing, "_plainly_lacking", lambda level: "")
    monkeypatch.setattr(
        sandboxing, "_probe", lambda level: {"home": "", "network": "can be reached"}
    )
    report = sandboxing._try("L2")
    assert not report.works and report.reason == "network: can be reached" and report.digest


class Ended:
    """Stands in for a job that is over."""

    def __init__(self, spec: JobSpec, ended: JobExit) -> None:
        self.ended = ended
        Path(spec.record_dir).mkdir()
        (Path(spec.record_dir) / "stderr.log").write_text("said")
        (Path(spec.record_dir) / "stdout.log").write_text("")

    def wait(self) -> JobExit:
        return self.ended


NOT_STARTED = "not_started"


@pytest.mark.parametrize(
    ("ended", "says_something"),
    [
        (JobExit(reason=NOT_STARTED, message="bubblewrap (bwrap) is not installed"), True),
        (JobExit(reason=NOT_STARTED, message="cannot shut the process in (level L1): no"), True),
        (JobExit(reason=NOT_STARTED, message="the sandbox could not be set up; bwrap: no"), True),
        (JobExit(reason="exited", returncode=1), True),
        (JobExit(reason="exited", returncode=-31, signal="SIGSYS"), True),
        (JobExit(reason=NOT_STARTED, message="the sandbox could not be set up"), False),
        (JobExit(reason=NOT_STARTED, message="bwrap: Can't fork: Cannot allocate memory"), False),
        (JobExit(reason=NOT_STARTED, message="[Errno 24] Too many open files"), False),
        (JobExit(reason="timeout", returncode=-9, signal="SIGKILL"), False),
        (JobExit(reason="timeout", returncode=0), False),
        (JobExit(reason="disk_full", returncode=-15, signal="SIGTERM"), False),
        (JobExit(reason="lost"), False),
        (JobExit(reason="exited", returncode=-9, signal="SIGKILL"), False),
        (JobExit(reason="exited", returncode=probes.EXIT_NOT_NOW), False),
        (JobExit(reason="exited", returncode=0), False),  # without an answer
    ],
)
def test_what_the_end_of_a_trial_says_of_its_level(
    monkeypatch: pytest.MonkeyPatch, ended: JobExit, says_something: bool
) -> None:
    monkeypatch.setattr(LocalExecutor, "start", lambda self, spec: Ended(spec, ended))
    if says_something:
        assert not sandboxing._try("L1").works
    else:
        with pytest.raises(sandboxing.TrialFailed):
            sandboxing._try("L1")


@pytest.mark.parametrize(
    "fault",
    [OSError(errno.ENOSPC, "No space left on device"), ExecutorError("no shim", "remedy")],
)
def test_a_job_that_could_not_be_started_says_nothing(
    monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def start(self: LocalExecutor, spec: JobSpec) -> None:
        raise fault

    monkeypatch.setattr(LocalExecutor, "start", start)
    with pytest.raises(sandboxing.TrialFailed, match=r"No space|no shim"):
        sandboxing._try("L2")


def test_a_probe_that_the_machine_is_too_short_for_gives_no_answer() -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def denied() -> None:
        raise OSError(errno.EACCES, "Permission denied")

    for ask in (probes._refused, probes._works):
        with pytest.raises(OSError, match="No space"):
            ask(full)
    assert probes._refused(denied) == "" and "Permission denied" in probes._works(denied)


def test_a_signal_is_for_the_server_and_no_other_of_its_number() -> None:
    server = process_tree.find(os.getpid())
    assert server is not None
    number, start = str(server.pid), server.start
    assert probes._refused(lambda: probes._signal(number, str(start))) == "can be reached"
    assert probes._refused(lambda: probes._signal(number, str(start + 1))) == ""


def test_a_probe_finds_what_is_open() -> None:
    """The probes of the sandbox, without one: each of the first has to complain."""
    if os.geteuid() != 0:
        pytest.skip("a user without rights is refused much anyway")
    report = sandboxing._probe("L0")
    open_ = {name for name, found in report.items() if found}
    assert {"secret files", "other folders", "network", "capabilities"} <= open_
    assert {"signals", "set-uid programs"} <= open_
    assert {"new privileges", "system call filter", "server's environment"} <= open_
    assert {"results", "home", "records", "devices", "shared memory"}.isdisjoint(open_)


@pytest.mark.parametrize(
    ("level", "owner", "name", "answer", "reason"),
    [
        ("L1", landlock, "abi", 3, "Landlock is of version 3"),
        ("L2", bubblewrap, "program", None, "bwrap) is not installed"),
        ("L3", bubblewrap, "program", None, "bwrap) is not installed"),
        ("L3", cgroups, "why_unavailable", "it works as root", "it works as root"),
    ],
)
def test_what_is_plainly_lacking_costs_no_trial(
    level: str,
    owner: object,
    name: str,
    answer: object,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owner, name, lambda: answer)
    monkeypatch.setattr(sandboxing, "_probe", lambda _: pytest.fail("it was tried"))
    report = Sandboxing(None).report(level)
    assert not report.works and reason in report.reason
