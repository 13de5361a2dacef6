"""Running a few lines in a process of their own, which may confine itself for good."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

_PRELUDE = f"""
import ctypes, errno, json, os, sys
sys.path.append({str(ROOT)!r})
from agent_runner.execution import landlock, privileges, seccomp
arguments = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)

def call(number, *values):
    "Make a system call; return its errno, or 0 where it succeeded."
    words = [ctypes.c_long(value) if isinstance(value, int) else value for value in values]
    result = libc.syscall(ctypes.c_long(number), *words)
    return ctypes.get_errno() if result < 0 else 0

def attempt(action, *values):
    "Return the errno with which the action fails, or 0."
    try:
        action(*values)
    except OSError as error:
        return error.errno
    return 0

def become_nobody():
    "Take another uid where that is allowed. Others of that uid may look into this process, as into any."
    if os.geteuid() == 0 and attempt(os.setgroups, []) == 0:
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        libc.prctl(4, 1, 0, 0, 0)  # the change of uid has taken that away

def answer(value):
    print("answer:" + json.dumps(value), flush=True)
"""


def start(code: str, *, timeout: float = 120, **arguments: Any) -> subprocess.CompletedProcess[str]:
    """Run the lines; they find `arguments` in a dictionary of that name."""
    return subprocess.run(
        [sys.executable, "-c", _PRELUDE + textwrap.dedent(code), json.dumps(arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def ask(code: str, **arguments: Any) -> Any:
    """Run the lines and return what they passed to `answer`."""
    done = start(code, **arguments)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}{done.stderr}"
    answers = [line for line in done.stdout.splitlines() if line.startswith("answer:")]
    assert len(answers) == 1, done.stdout + done.stderr
    return json.loads(answers[0].removeprefix("answer:"))


def capabilities() -> int:
    """The effective capabilities of this process, as a bit mask."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("CapEff:")[2].split()[0], 16)
