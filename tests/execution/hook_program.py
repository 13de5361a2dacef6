"""A program that runs with the exception hook, and without it, in an interpreter of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from agent_runner.execution.environment import HOOK


class Program:
    """A file `experiment.py` and what becomes of it with the hook and without."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = folder / "record"
        self.record.mkdir()
        self.file = folder / "experiment.py"

    def run(
        self, code: str, *, hook: bool = True, path: tuple[Path, ...] = (), **env: str
    ) -> subprocess.CompletedProcess[str]:
        self.file.write_text(code)
        environment = {"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1", **env}
        if hook:
            environment["AGENT_RUNNER_RECORD_DIR"] = str(self.record)
        folders = ((HOOK,) if hook else ()) + path
        environment["PYTHONPATH"] = os.pathsep.join(map(str, folders))
        return subprocess.run(
            [sys.executable, "experiment.py"],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def written(self) -> list[str]:
        return sorted(path.name for path in self.record.iterdir())

    @property
    def exception(self) -> dict[str, Any]:
        return json.loads((self.record / "exception.json").read_text())  # type: ignore[no-any-return]
