"""What the runner adds to a run: a whole proposal around a no-op experiment, beside the bare command, by level.

    .venv/bin/python benchmarks/overhead.py [--rounds 20] [--levels L0,L1,L2,L3]

Every round runs the bare command, then one proposal at each level, so that a change of the machine's speed
meets all of them. Prints medians: the whole way from propose to observe, and how much of it is the sandbox: the
job alone, from its start to the end of its tree, at each level beside L0. The static checks (ruff and ty as
programs) are left out of the first figure, and shown apart.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from unittest import mock

from agent_runner import Runner
from agent_runner.executors import LocalExecutor
from agent_runner.records import Confinement, JobSpec
from agent_runner.service import proposals

EXPERIMENT = """\
import json, os, sys
RATE = 0
out_dir = sys.argv[1].split("=", 1)[1]
os.makedirs(out_dir, exist_ok=True)
json.dump({"metrics": {"rate": RATE}}, open(os.path.join(out_dir, "final_info.json"), "w"))
"""


def reply(old: int, new: int) -> str:
    return f"experiment.py\n<<<<<<< SEARCH\nRATE = {old}\n=======\nRATE = {new}\n>>>>>>> REPLACE\n"


class Clock:
    """Seconds by name, and their medians in milliseconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def median_ms(self, name: str) -> float:
        return 1000 * statistics.median(self.seconds[name])


def job_alone(folder: Path, level: str, number: int, clock: Clock) -> None:
    """The bare program under the shim, from its start to the end of its tree."""
    record = folder / f"job-{level}-{number}"
    worktree = folder / "worktree"
    worktree.mkdir(exist_ok=True)
    spec = JobSpec(
        job_id="no-op",
        argv=(sys.executable, "-I", "-S", "-c", "pass"),
        cwd=str(worktree),
        env={
            "PATH": os.defpath,
            "HOME": str(record / "box" / "home"),
            "TMPDIR": "/tmp",
            "AGENT_RUNNER_RECORD_DIR": str(record / "job"),
        },
        record_dir=str(record),
        confinement=Confinement(level=level, read=(sys.prefix, sys.base_prefix)),
    )
    began = time.perf_counter()
    ended = LocalExecutor().start(spec).wait()
    clock.seconds[f"job {level}"].append(time.perf_counter() - began)
    assert ended is not None and ended.returncode == 0, ended


def measure(scratch: Path, levels: list[str], rounds: int, clock: Clock) -> None:
    folder = scratch / "template"
    folder.mkdir()
    (folder / "experiment.py").write_text(EXPERIMENT)
    runner = Runner(scratch / "home")
    ideas = {}
    for level in levels:
        ideas[level] = runner.create_idea(level, template=folder, max_runs=rounds, sandbox=level)
        runner.baseline(ideas[level].id)
    check = proposals.check_static

    def timed_check(*arguments, **options):  # type: ignore[no-untyped-def]
        began = time.perf_counter()
        try:
            return check(*arguments, **options)
        finally:
            clock.seconds["static checks"].append(time.perf_counter() - began)

    with mock.patch.object(proposals, "check_static", timed_check):
        for number in range(rounds):
            began = time.perf_counter()
            command = [sys.executable, "experiment.py", f"--out_dir=bare_{number}"]
            subprocess.run(command, cwd=folder, check=True)
            clock.seconds["bare"].append(time.perf_counter() - began)
            for level in levels:
                began = time.perf_counter()
                observation = runner.propose(ideas[level].id, reply(number, number + 1))
                whole = time.perf_counter() - began
                clock.seconds[f"whole {level}"].append(whole - clock.seconds["static checks"][-1])
                assert observation.run is not None, observation.message
                assert observation.run.metrics == {"rate": number + 1}
                assert observation.run.sandbox.level == level
                job_alone(scratch, level, number, clock)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--levels", default="L0,L1,L2,L3")
    options = parser.parse_args()
    levels = options.levels.split(",")
    clock = Clock()
    with tempfile.TemporaryDirectory() as scratch:
        measure(Path(scratch), levels, options.rounds, clock)
    bare, base = clock.median_ms("bare"), clock.median_ms(f"job {levels[0]}")
    print(f"medians of {options.rounds} rounds, milliseconds")
    print(
        f"bare command {bare:.1f}; static checks {clock.median_ms('static checks'):.1f} (left out)"
    )
    print(
        f"{'level':<6} {'whole':>7} {'added':>7} {'times bare':>11} {'job':>7} {'over ' + levels[0]:>8}"
    )
    for level in levels:
        whole, job = clock.median_ms(f"whole {level}"), clock.median_ms(f"job {level}")
        shares = f"{whole:>7.1f} {whole - bare:>7.1f} {whole / bare:>11.1f}"
        print(f"{level:<6} {shares} {job:>7.1f} {job - base:>8.1f}")


if __name__ == "__main__":
    main()
