"""Real jobs under a real shim, with shorter patience than in production."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent_runner.execution import job_files, process_tree

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE_S = 60.0
_DRIVER = """
import sys
sys.path.append({root!r})
from agent_runner.execution import shim, supervisor
supervisor.GRACE_S = 0.3
supervisor.LEFTOVER_GRACE_S = 0.2
sys.exit(shim.main(sys.argv[1:]))
"""


def until(ask: Callable[[], Any]) -> Any:
    """Wait until the answer is true, and return it."""
    deadline = time.monotonic() + _PATIENCE_S
    while not (answer := ask()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return answer


def has_ended(pid: int, start: int) -> bool:
    """Whether exactly this process is gone, whatever has its pid now."""
    process = process_tree.find(pid)
    return process is None or process.start != start


class ShimJob:
    """A job started as `shim.py spec.json`, without the server's side."""

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        self.record = folder / "record"
        self.work.mkdir(exist_ok=True)
        self.record.mkdir(exist_ok=True)
        self._driver = folder / "driver.py"
        self._driver.write_text(_DRIVER.format(root=str(ROOT)))

    def start(
        self,
        code: str = "",
        *,
        argv: tuple[str, ...] | None = None,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        **limits: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Start it and return once the shim says that the start is decided."""
        spec = {
            "job_id": "test",
            "argv": argv or (sys.executable, "-I", "-S", "-c", code),
            "cwd": str(cwd or self.work),
            "env": {"PATH": os.defpath} if env is None else env,
            "record_dir": str(self.record),
            "limits": limits,
        }
        path = self.record / job_files.SPEC
        path.write_text(json.dumps(spec))
        return self.start_shim(path)

    def start_shim(self, spec: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-S", str(self._driver), str(spec)]
        with open(self.record / job_files.SHIM_LOG, "a") as log:
            return subprocess.run(command, stdout=subprocess.PIPE, stderr=log, text=True)

    def alive(self) -> bool:
        return job_files.is_locked(str(self.record / job_files.LOCK))

    def wait(self) -> dict[str, Any]:
        """Its exit record."""
        until(lambda: not self.alive())
        return self.read(job_files.EXIT)

    def run(self, code: str = "", **options: Any) -> dict[str, Any]:
        self.start(code, **options)
        return self.wait()

    def read(self, name: str) -> dict[str, Any]:
        return json.loads((self.record / name).read_text())  # type: ignore[no-any-return]

    def stdout(self) -> str:
        return (self.record / job_files.STDOUT).read_text()

    def stderr(self) -> str:
        return (self.record / job_files.STDERR).read_text()
