"""Runs the programs of the catalogue as the runner would, and keeps what they leave behind.

    python tests/failures/record_catalogue.py [--all] [NAME ...]

Without a name: the cases whose record is missing or belongs to another text of the program.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import shutil
import socket
import sys
import sysconfig
import tempfile
from pathlib import Path

from failure_catalogue import CATALOGUE, MADE, RECORD, ROOT, Case, load, load_case

from agent_runner.executors import get_executor
from agent_runner.failures import diagnose
from agent_runner.leases import LeaseDesk, discover
from agent_runner.models import available_memory
from agent_runner.paths import Home, JobPaths
from agent_runner.records import JobExit, Limits, Problem
from agent_runner.results import read_results
from agent_runner.service.jobs import JobRequest, JobRunner

KEPT = (
    "exit.json",
    "stdout.log",
    "stderr.log",
    "turns.log",
    "exception.json",
    "events.jsonl",
    "faulthandler.log",
)
MAX_BYTES = 200_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--all", action="store_true", help="record every case anew")
    options = parser.parse_args()
    cases = [load_case(CATALOGUE / name) for name in options.names] or load()
    wrong = 0
    for case in cases:
        if case.by_hand or not (options.all or options.names or not is_current(case)):
            continue
        if missing := [name for name in case.needs if not installed(name)]:
            print(f"{case.name}: not recorded, {', '.join(missing)} not installed")
            continue
        with tempfile.TemporaryDirectory(prefix="failure-") as scratch:
            ended, problem, _ = run(case, Path(scratch))
            keep(case, Path(scratch), problem)
        wrong += report(case, ended)
    return min(wrong, 1)


def is_current(case: Case) -> bool:
    """Whether the record was made by exactly this program."""
    made = case.folder / RECORD / MADE
    return made.exists() and json.loads(made.read_text())["program"] == case.digest()


def run(case: Case, scratch: Path) -> tuple[JobExit, Problem | None, JobPaths]:
    """Start the program under the runner's own shim, environment and hook, and wait for its end."""
    worktree, records = scratch / "worktree", JobPaths(scratch / "record")
    worktree.mkdir()
    for path in case.sources():
        if path.name != "case.toml":
            shutil.copy(path, worktree)
    home = Home(scratch / "home")
    home.root.mkdir()
    desk = LeaseDesk(home.leases, discover(), 2)
    runner = JobRunner(get_executor("local"), desk, Path(sys.executable), home)
    request = JobRequest(
        idea=case.name,
        label="run_1",
        command="python experiment.py --out_dir={out_dir}",
        out_dir="run_1",
        worktree=worktree,
        records=records,
        limits=Limits(**case.limits),
        level="L0",
        environment=case.env,
    )
    ended = runner.run(request, lambda *_: None)
    assert ended is not None
    return ended, read_results(worktree / "run_1", not_before_ns=None).problem, records


def keep(case: Case, scratch: Path, problem: Problem | None) -> None:
    """Copy the record into the catalogue, with the paths of an imaginary machine in it."""
    target = case.folder / RECORD
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for name in KEPT:
        source = scratch / "record" / name
        if source.exists() and source.stat().st_size:
            data = imaginary(source.read_bytes(), scratch)
            assert len(data) < MAX_BYTES, f"{case.name}: {name} has {len(data)} bytes"
            (target / name).write_bytes(data)
    made = {
        "program": case.digest(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in case.needs},
        "available_memory_bytes": available_memory(),
        "results_problem": problem
        and json.loads(imaginary(problem.model_dump_json().encode(), scratch)),
    }
    (target / MADE).write_text(json.dumps(made, indent=2) + "\n")


def imaginary(data: bytes, scratch: Path) -> bytes:
    """Replace what only this machine has: its folders, its name, the scratch folder of the run."""
    packages, library = sysconfig.get_path("purelib"), sysconfig.get_path("stdlib")
    hook = str(Path(__file__).resolve().parents[2])
    known = {
        str(scratch / "worktree"): ROOT,
        str(scratch / "record"): "/runs/record",
        str(scratch): "/runs",
        packages: "/venv/lib/python3.11/site-packages",
        library: "/usr/lib/python3.11",
        sys.prefix: "/venv",
        sys.base_prefix: "/usr",
        hook: "/agent_runner",
    }
    for path in sorted(known, key=len, reverse=True):
        data = data.replace(path.encode(), known[path].encode())
    name = rb"\b" + re.escape(socket.gethostname()).encode() + rb"\b"
    data = re.sub(name, b"machine", data)
    scratches = re.escape(tempfile.gettempdir()).encode() + rb"/agent_runner-\w+"
    return re.sub(scratches, b"/tmp/agent_runner-scratch", data)


def report(case: Case, ended: JobExit) -> bool:
    """Print what the diagnosis says; True when that is wrong."""
    failure = diagnose(case.evidence())
    place = failure and failure.location
    found = (failure and failure.kind, place and f"{Path(place.file).name}:{place.line}")
    expected = (case.kind, case.place)
    code = ended.returncode if ended.signal is None else ended.signal
    verdict = "ok" if found == expected else f"WRONG: expected {expected}"
    print(f"{case.name}: {found} [{ended.reason} {code}, {ended.seconds:.1f} s] {verdict}")
    if found != expected and failure is not None:
        print("   ", failure.model_dump_json(indent=2).replace("\n", "\n    "))
    return found != expected


def installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    sys.exit(main())
