"""What is known about the end of a job, as plain data, and the reading of it that all rules share."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agent_runner.failures.text import bar_label, bounded, clean_output, is_bar, shorten
from agent_runner.records import JobExit, Limits, ModelUse, Problem


@dataclass(frozen=True)
class Evidence:
    """All that was seen of one job.

    `exit` is None when nobody saw the job end. `exception` is the parsed `exception.json` of the
    exception hook. `phase` and `device` are the last ones the job reported. `editable` are paths
    relative to `root`, the worktree. `results_problem` is of kind `results_missing`,
    `results_invalid` or `results_stale`. `stack_dump` is faulthandler's text.
    """

    exit: JobExit | None = None
    exception: Mapping[str, Any] | None = None
    stdout: str = ""
    stderr: str = ""
    phase: str | None = None
    root: str = ""
    editable: tuple[str, ...] = ()
    results_problem: Problem | None = None
    model: ModelUse | None = None
    device: str | None = None
    available_memory_bytes: int | None = None
    limits: Limits | None = None
    stack_dump: str = ""

    @cached_property
    def clean_stdout(self) -> str:
        """Standard output, bounded and cleaned."""
        return clean_output(bounded(self.stdout))

    @cached_property
    def clean_stderr(self) -> str:
        """Standard error, bounded and cleaned."""
        return clean_output(bounded(self.stderr))

    @cached_property
    def reached_phase(self) -> str | None:
        """The phase the job reported, else `model load` where the stack or the last bar is a model's."""
        if self.phase is not None:
            return shorten(clean_output(self.phase), 60)
        if _LOADING.search(bounded(self.stack_dump)):
            return MODEL_LOAD
        for text in (self.clean_stderr, self.clean_stdout):
            if _ends_in_model_load(text):
                return MODEL_LOAD
        return None

    @cached_property
    def used_device(self) -> str | None:
        """The device the job reported, else the last one it printed (`Using device: cpu`)."""
        if self.device is not None:
            return shorten(clean_output(self.device), 40)
        printed = _DEVICE.findall(self.clean_stdout) or _DEVICE.findall(self.clean_stderr)
        return printed[-1].lower() if printed else None

    @cached_property
    def is_out_of_reach(self) -> bool:
        """Say whether a signal that ended the program was its own, or of a process that it started.

        At L2 and L3 nothing outside can send it one but the machine's root and the server's own user. Where its
        sandbox was killed from outside, its end is not the program's.
        """
        end = self.exit
        return end is not None and end.level in ("L2", "L3") and not end.sandbox_killed

    @cached_property
    def short_elsewhere(self) -> bool:
        """Say whether the kernel killed for want of memory that others used.

        That is: the kernel says that the job was below its own limit, and its peak is at most half of the
        memory that the machine had for it. Without a cgroup the first is not known, and the answer is False.
        """
        end, machine = self.exit, self.available_memory_bytes
        if end is None or not end.oom_kills or end.oom_own_limit is not False:
            return False
        return not machine or (end.peak_memory_bytes or 0) <= machine / 2

    @cached_property
    def ended_by(self) -> str | None:
        """The name of the signal that ended the job (`SIGKILL`), or None."""
        if self.exit is None:
            return None
        if self.exit.signal:
            return shorten(clean_output(self.exit.signal), 40)
        return signal_name(self.exit.returncode)


MODEL_LOAD = "model load"
LOADERS = (
    "from_pretrained",
    "from_pretrained_no_processing",
    "load_model",
    "get_pretrained_state_dict",
)
_LOADING = re.compile(
    rf"^ {{2,4}}File [^\n]{{1,4000}} in (?:{'|'.join(LOADERS)})\r?$", re.MULTILINE
)

_DEVICE = re.compile(r"(?i)\busing device:?[ \t]{0,10}(cpu|mps|cuda(?::\d{1,3})?)\b")
_MODEL_BARS = ("loading checkpoint shards", "loading weights", "downloading shards")


def signal_name(returncode: int | None) -> str | None:
    """Return the signal behind a return code: negative, or 128 + n as a shell reports it."""
    if returncode is None:
        return None
    number = -returncode if returncode < 0 else returncode - 128
    try:
        return signal.Signals(number).name
    except ValueError:
        return None


def _ends_in_model_load(text: str) -> bool:
    lines = [line for line in text[-20_000:].split("\n") if line.strip()]
    if not lines or not is_bar(lines[-1]):
        return False
    return bar_label(lines[-1]).lower().startswith(_MODEL_BARS)
