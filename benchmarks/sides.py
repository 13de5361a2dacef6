"""The two engines that the benchmarks of edits compare, each in a process of its own speaking JSON lines."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

AIDER = "aider-chat==0.86.2"
_ROOT = Path(__file__).resolve().parent.parent


class Side:
    """A process that runs a script with `--side NAME`, which answers each request by `serve`."""

    def __init__(self, python: str, script: str, name: str) -> None:
        self._process = subprocess.Popen(
            [python, script, "--side", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={"PYTHONPATH": str(_ROOT), "PATH": "/usr/bin:/bin"},
        )

    def ask(self, request: object) -> Any:
        """The answer to one request."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def serve(answer: Callable[[Any], object]) -> None:
    """Answer each request that stdin holds, on stdout."""
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


def both(script: str, python: str | None) -> tuple[Side, Side]:
    """Our side and aider's; `python` has aider-chat, else an environment is made that has it."""
    theirs = python or scratch_aider(_ROOT / ".bench" / "aider")
    return Side(sys.executable, script, "ours"), Side(theirs, script, "aider")


def scratch_aider(folder: Path) -> str:
    """The interpreter of an environment with aider in it, made when it is not there."""
    python = folder / "bin" / "python"
    done = folder / "complete"
    if not done.exists():
        print(f"installing {AIDER} into {folder} ...", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-qq", AIDER], check=True)
        done.touch()
    return str(python)
