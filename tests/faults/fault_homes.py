"""A toy experiment, proposals for it, and what must be true of a home after any fault.

What is compared with is kept in the test's own memory (`Model`), never read from the machine under test.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fault_processes import below, call, until

from agent_runner import Runner
from agent_runner.execution import process_tree
from agent_runner.records import IdeaView, Observation, Outcome

# Two files, so that an edit can be half applied; text and not code: no static tool has to be waited for.
TEMPLATE = 'editable = ["rate.txt", "mode.txt", "switches.txt"]\n'
SWITCHES = 64  # lines that can be changed in any order
EXPERIMENT = r"""
import argparse, json, os, signal, sys, time

parser = argparse.ArgumentParser()
parser.add_argument("--out_dir", type=str, default="run_0")
out_dir = parser.parse_args().out_dir
os.makedirs(out_dir, exist_ok=True)
with open(os.path.join(out_dir, "starts.txt"), "a") as counter:
    counter.write("started\n")
mode = open("mode.txt").read().split()[0]
rate = float(open("rate.txt").read())


def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(1, b"daemon\n")
            while True:
                signal.pause()
        os._exit(0)
    os.wait()


def wait_for_signal():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    os.write(1, b"ready\n")
    signal.sigwait({signal.SIGUSR2})


def flood(megabytes):
    block = b"%s\n" % (b"x" * 1023) * 1024
    for _ in range(megabytes):
        view = memoryview(block)
        while view:
            view = view[os.write(1, view):]
    sys.stdout.write("".join(f"line {n}\n" for n in range(20000)))


if mode == "tree":
    for _ in range(4):
        daemon()
if mode in ("tree", "wait"):
    wait_for_signal()
if mode == "flood":
    flood(500)
with open(os.path.join(out_dir, "final_info.json"), "w") as file:
    json.dump({"toy": {"means": {"loss": rate}}}, file)
"""


def write_template(folder: Path) -> Path:
    folder.mkdir()
    (folder / "experiment.py").write_text(EXPERIMENT)
    (folder / "template.toml").write_text(TEMPLATE)
    (folder / "rate.txt").write_text("0\n")
    (folder / "mode.txt").write_text("plain 0\n")
    (folder / "switches.txt").write_text("".join(f"switch {n:02} off\n" for n in range(SWITCHES)))
    return folder


def reply(old: int, new: int, *, modes: tuple[str, str] = ("plain", "plain")) -> str:
    """A proposal that sets the rate (and so the loss), and in a second file the mode."""
    changes = (
        ("rate.txt", f"{old}", f"{new}"),
        ("mode.txt", f"{modes[0]} {old}", f"{modes[1]} {new}"),
    )
    return "\n".join(
        f"{name}\n```\n<<<<<<< SEARCH\n{before}\n=======\n{after}\n>>>>>>> REPLACE\n```\n"
        for name, before, after in changes
    )


def switch_on(number: int) -> str:
    """A proposal that can be applied whatever others were before it."""
    line = f"switch {number:02}"
    return (
        f"switches.txt\n```\n<<<<<<< SEARCH\n{line} off\n=======\n{line} on\n>>>>>>> REPLACE\n```\n"
    )


def propose(home: Path, idea: str, text: str, key: str | None = None) -> Observation:
    """In a server process: the whole way of one proposal."""
    return Runner(home).propose(idea, text, idempotency_key=key)


def create(
    home: Path, template: Path, title: str, max_runs: int = 40, sandbox: str | None = None
) -> str:
    """An idea with its baseline measured."""
    runner = Runner(home)
    level: dict[str, Any] = {} if sandbox is None else {"sandbox": sandbox}
    idea = runner.create_idea(title, template=template, max_runs=max_runs, **level)
    baseline = runner.baseline(idea.id).run
    assert baseline is not None and baseline.outcome is Outcome.SUCCEEDED, baseline
    return idea.id


def show(home: Path, idea: str) -> tuple[IdeaView, list[dict[str, Any]]]:
    """In a server process, which lets go of its files at the end: an idea as recorded, its conversation."""
    runner = Runner(home)
    return runner.show(idea), runner.messages(idea)["messages"]


@dataclass
class Model:
    """What must be true of one idea, by what the test itself did and was told."""

    home: Path
    idea: str
    value: int = 0  # what stands in the editable files
    ran: Counter[int] = field(default_factory=Counter)  # values whose run must count exactly once
    replies: list[str] = field(default_factory=list)  # what the agent said, as far as it was taken

    def check(self) -> IdeaView:
        """Compare results, budget, launches and conversation with what they must be."""
        view: IdeaView
        view, messages = call(show, self.home, self.idea)
        spent = Counter(int(r.metrics["loss"]) for r in view.runs if r.index and r.metrics)
        assert spent == self.ran, f"results: {dict(spent)}, expected {dict(self.ran)}"
        assert view.budget.used == sum(self.ran.values())
        assert self.launches() == sum(self.ran.values()), "launches"
        charged = [attempt for attempt in view.attempts if attempt.charged]
        assert len(charged) == view.budget.used, "charged attempts"
        assert all(attempt.stage is not None for attempt in view.attempts), "an attempt stays open"
        for name, mode in (("rate.txt", f"{self.value}\n"), ("mode.txt", f"plain {self.value}\n")):
            assert (self.worktree / name).read_text() == mode, name
        self._check_conversation(messages)
        return view

    def _check_conversation(self, messages: list[dict[str, Any]]) -> None:
        roles = [message["role"] for message in messages if message["role"] != "system"]
        assert roles == ["user", "assistant"] * len(self.replies) + ["user"], roles
        said = [str(message["content"]) for message in messages if message["role"] == "assistant"]
        for text, found in zip(self.replies, said, strict=True):
            assert text.strip() in found, "a reply is missing in the conversation"

    @property
    def worktree(self) -> Path:
        return self.home / "worktrees" / self.idea

    def launches(self) -> int:
        """How often the experiment was started, by its own count; also in folders that were set aside."""
        counts = self.worktree.glob("run_[1-9]*/starts.txt")
        return sum(len(path.read_text().splitlines()) for path in counts)


def check_home(home: Path) -> None:
    """Nothing left behind: no process, no lock, no torn database, no broken repository."""
    until(lambda: not below(home), f"no process of {home}", timeout=10)
    locks = [str(p) for p in (home / "repo.git").rglob("*.lock")]
    assert not locks, f"stale locks of git: {locks}"
    quick_check(home)
    fsck = git(home, "fsck", "--no-dangling", "--no-progress")
    assert fsck.returncode == 0, fsck.stderr


def end_everything(home: Path) -> None:
    """Kill what a failed test has left running."""
    for process in below(home):
        process_tree.send(process, signal.SIGKILL)


def quick_check(home: Path) -> None:
    with sqlite3.connect(home / "ledger.sqlite3") as connection:
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
    connection.close()


def git(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["git", "-c", "safe.directory=*", f"--git-dir={home / 'repo.git'}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
