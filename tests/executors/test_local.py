"""Jobs that survive the server, and jobs that survive nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent_runner.errors import ExecutorError
from agent_runner.execution import job_files, process_tree
from agent_runner.execution.environment import build_environment, resolve_argv
from agent_runner.executors import Executor, Job
from agent_runner.executors.local import LocalExecutor, LocalJob
from agent_runner.records import JobSpec, Limits

Spec = Callable[..., JobSpec]
Until = Callable[[Callable[[], Any]], Any]

WAIT_FOR_GO = """
import os, time
open("up", "w").close()
while not os.path.exists("go"): time.sleep(0.01)
"""
# A child in a session of its own that ignores SIGTERM and lives on when its parents are gone.
WITH_DAEMON = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open("aside", "w") as file: file.write(str(os.getpid()))
    os.rename("aside", "daemon")
    while True: time.sleep(1000)
time.sleep(1000)
"""


@pytest.fixture
def executor() -> LocalExecutor:
    return LocalExecutor()


def gone(process: process_tree.Process) -> bool:
    """Whether it runs no more. (Some machines' process 1 is slow to wait for the dead it has inherited.)"""
    now = process_tree.find(process.pid)
    if now is None or now.start != process.start:
        return True
    status = Path(f"/proc/{process.pid}/status")
    return not status.exists() or "\nState:\tZ" in status.read_text()


def find_daemon(folder: Path, until: Until) -> process_tree.Process:
    until((folder / "work" / "daemon").exists)
    found = process_tree.find(int((folder / "work" / "daemon").read_text()))
    assert found is not None
    return found


def started(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "record" / job_files.STARTED).read_text())  # type: ignore[no-any-return]


# ---------------------------------------------------------------- from start to end


def test_a_job_from_start_to_end(executor: LocalExecutor, make_spec: Spec, tmp_path: Path) -> None:
    plain: Executor = executor
    job: Job = plain.start(make_spec("print('out'); raise SystemExit(3)"))
    ended = job.wait()
    assert ended is not None and (ended.reason, ended.returncode) == ("exited", 3)
    assert job.poll() == ended == executor.attach(job.record_dir).poll() and not job.alive()
    assert (tmp_path / "record" / "stdout.log").read_text() == "out\n"
    mode = (tmp_path / "record" / job_files.SPEC).stat().st_mode
    assert mode & 0o777 == 0o600


def test_while_it_runs(
    executor: LocalExecutor, make_spec: Spec, tmp_path: Path, until_true: Until
) -> None:
    job = executor.start(make_spec(WAIT_FOR_GO))
    until_true((tmp_path / "work" / "up").exists)
    # Written by the experiment: not believed while the shim lives.
    (tmp_path / "record" / job_files.EXIT).write_text('{"reason": "exited", "returncode": 0}')
    assert job.alive() and job.poll() is None
    assert job.wait(0) is None and job.wait(0.02) is None
    (tmp_path / "work" / "go").touch()
    ended = job.wait()
    assert ended is not None and ended.seconds > 0


def test_cancel(executor: LocalExecutor, make_spec: Spec) -> None:
    job = executor.start(make_spec("import time; time.sleep(1000)"))
    job.cancel()
    ended = job.wait()
    assert ended is not None and ended.reason == "cancelled"
    job.cancel()
    assert job.poll() == ended


def test_a_missing_program_is_a_job_that_never_started(
    executor: LocalExecutor, make_spec: Spec
) -> None:
    ended = executor.start(make_spec(argv=("/no/such/python", "experiment.py"))).wait()
    assert ended is not None and ended.reason == "not_started"
    assert "/no/such/python" in ended.message and ended.returncode is None


def test_the_environment_of_a_whole_job_is_clean(
    executor: LocalExecutor, make_spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_TOKEN", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "NVIDIA_API_KEY"):
        monkeypatch.setenv(name, "planted")
    record = tmp_path / "record"
    python = Path(sys.executable)
    environment = build_environment(record, tmp_path / "cache", {}, interpreter=python)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "experiment.py").write_text(
        "import os, sys, tempfile\n"
        "everything = [str(dict(os.environ))]\n"
        "for pid in {os.getpid(), os.getppid()}:\n"  # itself, and the shim
        "    everything.append(open(f'/proc/{pid}/environ').read())\n"
        "print(sys.argv[1], 'planted' in str(everything), tempfile.gettempdir())\n"
        "open(os.path.join(tempfile.gettempdir(), 'left'), 'w')\n"
        "raise ValueError('seen by the hook')\n"
    )
    argv = resolve_argv("python experiment.py --out_dir={out_dir}", "run_1", python)
    ended = executor.start(make_spec(argv=argv, env=environment)).wait()
    assert ended is not None and ended.returncode == 1
    out = (record / "stdout.log").read_text().split()
    assert out == ["--out_dir=run_1", "False", environment["TMPDIR"]]
    assert not Path(environment["TMPDIR"]).exists()
    exception = json.loads((record / "exception.json").read_text())
    assert exception["chain"][0]["message"] == "seen by the hook"
    assert exception["pid"] == started(tmp_path)["child_pid"]


# ---------------------------------------------------------------- deaths


def test_the_job_outlives_a_server_that_is_killed(
    executor: LocalExecutor, make_spec: Spec, tmp_path: Path, until_true: Until
) -> None:
    spec = make_spec(WAIT_FOR_GO + "print('to the end')")
    (tmp_path / "spec").write_text(spec.model_dump_json())
    code = (
        "import sys, time; from pathlib import Path\n"
        "from agent_runner.executors.local import LocalExecutor\n"
        "from agent_runner.records import JobSpec\n"
        "spec = JobSpec.model_validate_json(Path(sys.argv[1]).read_bytes())\n"
        "job = LocalExecutor().start(spec)\n"
        "print('started', flush=True)\n"
        "job.wait()"
    )
    root = str(Path(__file__).resolve().parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "spec")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
        start_new_session=True,
    ) as server:
        assert server.stdout is not None and server.stdout.readline() == b"started\n"
        os.killpg(server.pid, signal.SIGKILL)
    until_true((tmp_path / "work" / "up").exists)
    job = executor.attach(tmp_path / "record")
    assert job.alive() and job.poll() is None
    (tmp_path / "work" / "go").touch()
    ended = job.wait()
    assert ended is not None and (ended.reason, ended.returncode) == ("exited", 0)
    assert (tmp_path / "record" / "stdout.log").read_text() == "to the end\n"


def test_a_killed_shim_loses_the_job_and_leaves_nothing_running(
    executor: LocalExecutor, make_spec: Spec, tmp_path: Path, until_true: Until
) -> None:
    job = executor.start(make_spec("print('x' * 50, flush=True)\n" + WITH_DAEMON))
    daemon = find_daemon(tmp_path, until_true)
    main = process_tree.find(started(tmp_path)["child_pid"])
    assert main is not None
    os.kill(started(tmp_path)["shim_pid"], signal.SIGKILL)
    ended = job.wait()
    assert ended is not None and ended.reason == "lost" and ended.returncode is None
    assert "supervisor was killed" in ended.message and ended.stdout_bytes == 51
    assert gone(daemon) and gone(main)
    assert executor.attach(tmp_path / "record").wait() == ended
    assert not job.alive()


def test_output_of_a_lost_job_is_complete(
    executor: LocalExecutor, make_spec: Spec, tmp_path: Path, until_true: Until
) -> None:
    code = "print('abcdefghij' * 10, flush=True)\n" + WAIT_FOR_GO
    job = executor.start(make_spec(code, limits=Limits(output_bytes=20)))
    log = tmp_path / "record" / "stdout.log"
    until_true(lambda: (tmp_path / "work" / "up").exists() and any(log.parent.glob("*.tail-0")))
    os.kill(started(tmp_path)["shim_pid"], signal.SIGKILL)
    ended = job.wait()
    assert ended is not None and (ended.stdout_bytes, ended.dropped_bytes) == (101, 81)
    assert log.read_text() == "abcdefghij\n[agent_runner: 81 bytes dropped here]\nbcdefghij\n"


def test_a_shim_that_died_before_the_start_was_recorded(
    executor: LocalExecutor, make_spec: Spec, tmp_path: Path
) -> None:
    job = executor.attach(tmp_path / "nothing")
    assert not job.alive()
    ended = job.wait()
    assert ended is not None and ended.reason == "not_started"


def test_an_end_that_cannot_be_read_is_a_loss(
    executor: LocalExecutor, make_spec: Spec, tmp_path: Path
) -> None:
    job = executor.start(make_spec())
    job.wait()
    for text in ("{", "[]", '{"reason": 5}'):
        (tmp_path / "record" / job_files.EXIT).write_text(text)
        ended = job.poll()
        assert ended is not None and ended.reason == "lost" and "exit.json" in ended.message


# ---------------------------------------------------------------- starts that are refused or fail


def test_one_job_at_a_time_in_a_folder(executor: LocalExecutor, make_spec: Spec) -> None:
    job = executor.start(make_spec("import time; time.sleep(1000)"))
    with pytest.raises(ExecutorError, match="a job is going on"):
        executor.start(make_spec())
    job.cancel()
    assert job.wait() is not None


def test_records_of_an_earlier_job_are_kept_and_not_mixed_up(
    executor: LocalExecutor, make_spec: Spec, tmp_path: Path
) -> None:
    executor.start(make_spec("print(1)")).wait()
    (tmp_path / "record" / "exception.json").write_text("{}")
    (tmp_path / "record" / job_files.CANCEL).touch()
    second = executor.start(make_spec("print(2)")).wait()
    third = executor.start(make_spec("print(3)")).wait()
    assert second is not None and third is not None and third.reason == "exited"
    record = tmp_path / "record"
    logs = [record / "earlier-1", record / "earlier-2", record]
    assert [(log / "stdout.log").read_text() for log in logs] == ["1\n", "2\n", "3\n"]
    assert (record / "earlier-1" / "exception.json").exists()
    assert not (record / "exception.json").exists()


@pytest.mark.parametrize("python", ["/no/such/python", "/bin/false"])
def test_a_shim_that_cannot_start(make_spec: Spec, python: str, tmp_path: Path) -> None:
    with pytest.raises(ExecutorError) as error:
        LocalExecutor(python).start(make_spec("open('ran', 'w')"))
    assert "idea/run_1 could not be started" in error.value.message
    assert str(tmp_path / "record") in error.value.remedy
    assert not (tmp_path / "work" / "ran").exists()
    ended = LocalJob(tmp_path / "record").poll()
    assert ended is not None and ended.reason == "not_started"


def test_what_the_shim_complained_of_is_told(make_spec: Spec, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no space left >&2\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(ExecutorError, match="no space left"):
        LocalExecutor(str(python)).start(make_spec())


def test_a_start_that_cannot_be_recorded_does_not_happen(make_spec: Spec, tmp_path: Path) -> None:
    (tmp_path / "record" / job_files.STARTED).mkdir(parents=True)
    ended = LocalExecutor().start(make_spec("open('ran', 'w')")).wait()
    assert ended is not None and ended.reason == "not_started"
    assert "the start failed" in ended.message
    assert not (tmp_path / "work" / "ran").exists()


def test_a_record_folder_that_cannot_be_made(make_spec: Spec, tmp_path: Path) -> None:
    (tmp_path / "record").write_text("in the way")
    with pytest.raises(ExecutorError, match="record folder cannot be used"):
        LocalExecutor().start(make_spec())


def test_hostile_folder_names(executor: LocalExecutor, make_spec: Spec, tmp_path: Path) -> None:
    for name in ("with blank", "-dash", "new\nline", "ünïcode", "'quotes\""):
        record = tmp_path / name
        environment = {"AGENT_RUNNER_RECORD_DIR": str(record / "job")}
        ended = executor.start(make_spec(record_dir=str(record), env=environment)).wait()
        assert ended is not None and (ended.reason, ended.returncode) == ("exited", 0)
