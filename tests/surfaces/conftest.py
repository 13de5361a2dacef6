"""The command line as a process, on the toy template of the service tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

EXPERIMENT = """\
import argparse, json, os

RATE = 0.1

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out_dir", default="run_0")
    args = parser.parse_args()
    os.makedirs(args.out_dir, exist_ok=True)
    with open(os.path.join(args.out_dir, "final_info.json"), "w") as file:
        json.dump({"toy": {"means": {"loss": 1 - RATE}}}, file)
"""


@dataclass(frozen=True)
class Ended:
    """A finished command."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "experiment.py").write_text(EXPERIMENT)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def cli(home: Path, tmp_path: Path) -> Callable[..., Ended]:
    """Run `agent-runner` with arguments; standard input by `stdin=`."""

    def run(*arguments: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Ended:
        ended = subprocess.run(
            [sys.executable, "-m", "agent_runner", *arguments],
            input=stdin.encode("utf-8", errors="surrogateescape"),
            capture_output=True,
            cwd=tmp_path,
            timeout=300,
            env={**os.environ, "AGENT_RUNNER_HOME": str(home), **(env or {})},
        )
        return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())

    return run
