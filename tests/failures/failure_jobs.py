"""Really runs small faulty programs, and turns what they leave behind into evidence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

from agent_runner.failures import Evidence
from agent_runner.records import JobExit

HERE = "# <- here"

# Writes the record of the contract; the chain below is also used by the torch driver.
CHAIN = """
import json, os, sys, traceback

def chain_of(error):
    chain, relation = [], "raised"
    while error is not None and len(chain) < 20:
        frames = [
            {"file": f.filename, "line": f.lineno, "function": f.name, "code": f.line or None}
            for f in traceback.extract_tb(error.__traceback__)
        ]
        kind = type(error)
        chain.append({"type": kind.__qualname__, "module": kind.__module__, "message": str(error),
                      "relation": relation, "frames": frames})
        if error.__cause__ is not None:
            error, relation = error.__cause__, "cause"
        elif not error.__suppress_context__:
            error, relation = error.__context__, "context"
        else:
            error = None
    return chain

def record_of(error, thread):
    where = None
    if isinstance(error, SyntaxError):
        where = {"file": error.filename, "line": error.lineno, "offset": error.offset, "text": error.text}
    return {"schema_version": 1, "pid": os.getpid(), "thread": thread, "chain": chain_of(error),
            "syntax_error": where}
"""

HOOK = (
    CHAIN
    + """
import threading

def save(error, thread):
    with open(os.environ["RECORD"], "w") as file:
        json.dump(record_of(error, thread), file)

def on_error(kind, error, tb):
    save(error, "MainThread")
    sys.__excepthook__(kind, error, tb)

def on_thread_error(args):
    save(args.exc_value, args.thread.name)
    threading.__excepthook__(args)

sys.excepthook = on_error
threading.excepthook = on_thread_error
"""
)


@dataclass(frozen=True)
class Ended:
    """What one job left: its exit, its streams, the hook's record, and where it ran."""

    root: Path
    returncode: int
    stdout: str
    stderr: str
    record: dict[str, Any] | None

    def evidence(self, *, hook: bool = True, **changes: Any) -> Evidence:
        """Return the evidence, with or without the hook's record."""
        code = self.returncode
        end = JobExit(
            reason="exited",
            returncode=code,
            signal=signal.Signals(-code).name if code < 0 else None,
            seconds=1.0,
        )
        known: dict[str, Any] = {
            "exit": end,
            "exception": self.record if hook else None,
            "stdout": self.stdout,
            "stderr": self.stderr,
            "root": str(self.root),
            "editable": ("experiment.py", "plot.py"),
        }
        return Evidence(**(known | changes))


def run(folder: Path, program: str, *arguments: str, **files: str) -> Ended:
    """Run `program` as experiment.py in its own worktree, the hook loaded, as a shim would."""
    root, hook, record = folder / "worktree", folder / "hook", folder / "exception.json"
    root.mkdir()
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(HOOK)
    (root / "experiment.py").write_text(dedent(program))
    for name, text in files.items():
        (root / f"{name}.py").write_text(dedent(text))
    done = subprocess.run(
        [sys.executable, "experiment.py", *(arguments or ("--out_dir=run_1",))],
        cwd=root,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(hook), "RECORD": str(record)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    saved = json.loads(record.read_text()) if record.exists() else None
    return Ended(root, done.returncode, done.stdout, done.stderr, saved)


def marked_line(program: str) -> int | None:
    """Return the line of a program that carries the mark, or None."""
    for number, line in enumerate(dedent(program).split("\n"), start=1):
        if HERE in line:
            return number
    return None
