"""Plays a case at a level, and says what came of it: what got out, and whether the verdict was right."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sqlite3
import stat
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import host
from .ground import HERE, Ended, Ground

LEVELS = ("L0", "L1", "L2", "L3")
EXIT_CODES = {"succeeded": 0, "failed": 3, "killed": 3, "timed_out": 6}
AT_MOST_S = 25.0  # around any case: a time limit of 20 s at most, and the way there and back
GONE_WITHIN_S = 2.0
ANSWER_AT_MOST = 4 << 20  # bytes of an Observation, whatever the run did


@dataclass(frozen=True)
class Case:
    """A program and what must come of it (manifest.toml)."""

    name: str
    kind_of_attack: str
    contained: tuple[str, ...]
    outcome: tuple[str, ...]
    failure: tuple[str, ...] = ()
    charged: bool | tuple[str, ...] | None = None
    returncode: int | None = None
    time_limit: float = 20.0
    l0: str = "run"
    needs: str | None = None
    own_home: bool = False
    followup: str | None = None
    forbidden_score: float | None = None
    keeps: str | None = None
    max_record_mb: float | None = None
    max_peak_mb: float | None = None
    output_mb: float | None = None
    writes_ok_at: tuple[str, ...] = ()


def load_cases() -> dict[str, Case]:
    """The manifest. An unknown key is an error."""
    cases = {}
    for name, entry in tomllib.loads((HERE / "manifest.toml").read_text()).items():
        values = {key: tuple(v) if isinstance(v, list) else v for key, v in entry.items()}
        values["kind_of_attack"] = values.pop("class")
        values["failure"] = values.pop("kind", ())
        cases[name] = Case(name=name, **values)
    return cases


CASES = load_cases()


@dataclass
class Trial:
    """What one case did at one level. `escapes`: proofs found on the host; `faults`: a wrong answer."""

    case: Case
    level: str
    escapes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    skipped: str | None = None
    observation: Any = None
    seconds: float = 0.0


def play(ground: Ground, case: Case, level: str) -> Trial:
    """Start an idea on the case's template, measure its baseline, propose the attack, look at everything."""
    trial = Trial(case, level)
    mark = "hx" + secrets.token_hex(5)
    idea = case.name.replace("_", "-") + "-" + level.lower()
    folder = ground.template(case.name, mark, idea)
    trial.skipped = missing_need(ground, case)
    if trial.skipped:
        return trial
    words = [
        "--title",
        idea,
        "--template",
        str(folder),
        "--sandbox",
        level,
        "--time-limit",
        str(case.time_limit),
    ]
    created = ground.checked("idea", "new", *words, "--max-runs", "5", "--json")
    assert created["id"] == idea
    measured = case.kind_of_attack == "writing"  # else `propose` measures the baseline on its way
    if measured:
        baseline = ground.checked("baseline", idea, "--json")["run"]
        assert (baseline["outcome"], baseline["sandbox"]["level"]) == ("succeeded", level), baseline
    before = Before(ground, idea, folder, measured)
    start = time.monotonic()
    # A new interpreter has the secrets in its own environment and memory; only the warm one has the keyring.
    alone = case.kind_of_attack == "secrets" and case.needs != "keyring"
    ended = ground.propose(idea, 0, 1, alone=alone)
    trial.seconds = time.monotonic() - start
    left = host.left_after([mark, str(ground.home)], GONE_WITHIN_S)
    trial.faults += [f"left running: {line}" for line in left]
    judge_answer(trial, ended)
    if case.followup:
        followed = ground.propose(idea, 1, 2)
        judge_followup(trial, followed)
    writes_ok = level in case.writes_ok_at
    trial.escapes += before.changes(mark, writes_ok)
    trial.escapes += leaks(ground, idea, ended, writes_ok)
    trial.escapes += [f"heard on {channel}" for channel in ground.listeners.from_run(mark)]
    trial.escapes += claims(ground, idea)
    trial.escapes += ground.canary_harm()
    judge_records(trial, ground, idea, mark)
    if trial.escapes:
        ground.plant()
    heap = os.fsencode(ground.home / "worktrees" / idea)
    subprocess.run(["rm", "-rf", "--", heap + b"/run_1"], check=False)
    return trial


def missing_need(ground: Ground, case: Case) -> str | None:
    """Why this machine cannot play the case at all."""
    if case.needs == "vsock" and ground.listeners.vsock_port is None:
        return "this machine cannot reach itself over vsock"
    if case.needs == "handle" and os.getuid() != 0:
        return "file handles need root to be an attack"
    if case.needs == "keyring" and not Path("/proc/keys").exists():
        return "this kernel has no keyrings"
    return None


# What changed on the host


class Before:
    """The state of everything that the run must leave alone, taken just before it."""

    def __init__(self, ground: Ground, idea: str, template: Path, measured: bool) -> None:
        self.ground, self.idea, self.template, self.measured = ground, idea, template, measured
        self.state = self._state()
        self.ledger = ledger_rows(ground.home)
        self.code = (template / "experiment.py").read_text()

    def _state(self) -> dict[bytes, object]:
        ground, home, idea = self.ground, self.ground.home, self.idea
        found: dict[bytes, object] = {}
        own = home / "worktrees" / idea

        own_work = re.compile(
            re.escape(os.fsencode(own))
            + rb"/(run_[%b-9][^/]*|experiment\.py|__pycache__)$" % (b"1" if self.measured else b"0")
        )

        for root in (ground.outside, ground.planted, ground.user, ground.private, self.template):
            found.update(host.snapshot(root))
        theirs = ["ideas/victim", "worktrees/victim", "cache"]
        theirs += [f"repo.git/{name}" for name in ("hooks", "config", "info", "config.worktree")]
        if self.measured:
            theirs += ["baselines", f"ideas/{idea}/attempts/0", f"ideas/{idea}/runs/0"]
            theirs += [f"worktrees/{path.name}" for path in home.glob("worktrees/baseline-*")]
        for name in theirs:
            found.update(host.snapshot(home / name))
        found.update(host.contents(own, lambda path: own_work.match(path) is not None))
        return found

    def changes(self, mark: str, only_strays: bool) -> list[str]:
        """Proofs that the run wrote where it must not."""
        ground = self.ground
        packages = [
            sys.prefix,
            f"{sys.prefix}/bin",
            f"{sys.base_prefix}/lib",
            os.path.dirname(os.__file__),
        ]
        packages += [path for path in sys.path if path.endswith("site-packages")]
        packages += [str(HERE.parents[1] / "agent_runner/execution/hook")]
        lines = [f"stray {path}" for path in host.strays(f"hostile-{mark}", packages)]
        if ground.unmount():
            lines.append("mounted outside")
        if only_strays:
            return lines
        lines += host.differences(self.state, self._state())
        if ledger_rows(ground.home) != self.ledger:
            lines.append("the ledger's rows of another idea, or its tables, were changed")
        work = ground.home / "worktrees" / self.idea
        code = (work / "experiment.py").read_text(errors="replace")
        if re.sub("VARIANT = [12]\n", "VARIANT = 0\n", code) != self.code:
            lines.append("experiment.py is not what was proposed")
        return lines + self._scribbles(mark)

    def _scribbles(self, mark: str) -> list[str]:
        """What the run wrote, or named, outside the folders of its own runs."""
        ground, idea, lines = self.ground, re.escape(self.idea.encode()), []
        name, text = f"hostile-{mark}".encode(), f"hostile-wrote-{mark}".encode()
        ours = rb"(worktrees|ideas)/(%b|victim|baseline-[^/]*)$" % idea
        skip = re.compile(
            re.escape(os.fsencode(ground.home))
            + rb"/(worktrees/%b/run_[0-9]|ideas/%b/runs/[1-9]|repo\.git/objects$" % (idea, idea)
            + rb"|(?!%b)(worktrees|ideas)/[^/]*$)" % ours
        )
        for path, info in host.walk(ground.home, lambda path: skip.match(path) is not None):
            if name in path:
                lines.append(f"added {path!r}")
            elif stat.S_ISREG(info.st_mode) and text in host.read(path):
                lines.append(f"written into {path!r}")
        return lines


def ledger_rows(home: Path) -> list[str]:
    """Its tables, and all rows that speak of the victim."""
    rows = []
    for path in sorted(home.glob("*sqlite3")):
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as ledger:
            tables = [
                name
                for (name,) in ledger.execute("select name from sqlite_master where type = 'table'")
            ]
            rows += sorted(tables)
            for table in tables:
                rows += sorted(
                    repr(r)
                    for r in ledger.execute(f'select * from "{table}"')
                    if "victim" in repr(r)
                )
    return rows


def own_files(ground: Ground, idea: str) -> list[tuple[bytes, os.stat_result]]:
    """All that the run may have left: its idea's records, its worktree."""
    roots = (ground.home / "ideas" / idea, ground.home / "worktrees" / idea)
    return [entry for root in roots for entry in host.walk(root)]


def leaks(ground: Ground, idea: str, ended: Ended, devices_ok: bool) -> list[str]:
    """Secrets in what the agent is answered and in what the run left, as they are or in hexadecimal."""
    lines = []
    needles = {kind: (s.encode(), s.encode().hex().encode()) for kind, s in ground.secrets.items()}
    texts = [(b"answer", ended.stdout.encode()), (b"stderr of the runner", ended.stderr.encode())]
    for path, info in own_files(ground, idea):
        if stat.S_ISREG(info.st_mode) and info.st_blocks and info.st_size < host.READ_AT_MOST:
            texts.append((path, host.read(path)))
        if (
            stat.S_ISREG(info.st_mode)
            and info.st_mode & stat.S_ISUID
            and info.st_uid in (0, os.getuid())
        ):
            lines.append(f"a program with its owner's rights: {path!r} of {info.st_uid}")
        if not devices_ok and (stat.S_ISBLK(info.st_mode) or stat.S_ISCHR(info.st_mode)):
            lines.append(f"a device: {path!r}")
    for where, data in texts:
        for kind, forms in needles.items():
            if any(form in data for form in forms):
                lines.append(f"secret {kind} in {where!r}")
    return lines


def claims(ground: Ground, idea: str) -> list[str]:
    """What the programs say they reached, and no trace on the host could show."""
    lines = []
    for path, _ in own_files(ground, idea):
        if os.path.basename(path) == b"claims.txt":
            lines += [
                f"claimed: {line}"
                for line in host.read(path).decode("utf-8", "replace").splitlines()
            ]
    return sorted(set(lines))


# Whether the runner's answer is right


def judge_answer(trial: Trial, ended: Ended) -> None:
    """Exit code, document, verdict, budget, text."""
    case, faults = trial.case, trial.faults
    if ended.code is None:
        faults.append(f"the runner hangs: {ended.stderr[-500:]}")
        return
    try:
        trial.observation = answer = ended.document()
    except ValueError as error:
        faults.append(
            f"no strict JSON ({error}); exit {ended.code}: {ended.stdout[-500:]} {ended.stderr[-1500:]}"
        )
        return
    if "accepted" not in answer or not answer["accepted"] or answer["run"] is None:
        faults.append(f"no run was started: {ended.stdout[:1500]}")
        return
    run = answer["run"]
    if run["outcome"] not in case.outcome:
        faults.append(f"outcome {run['outcome']}, not {case.outcome}: {answer['message'][:600]}")
    if ended.code != EXIT_CODES.get(run["outcome"]):
        faults.append(f"exit code {ended.code} for {run['outcome']}")
    kind = run["failure"] and run["failure"]["kind"]
    if case.failure and run["outcome"] != "succeeded" and kind not in case.failure:
        faults.append(f"kind {kind}, not {case.failure}: {answer['message'][:600]}")
    if (run["outcome"] == "succeeded") != (run["failure"] is None):
        faults.append(f"outcome {run['outcome']} with failure {kind}")
    due = trial.level in case.charged if isinstance(case.charged, tuple) else case.charged
    if due is not None and answer["budget"]["charged"] != due:
        faults.append(f"charged is {answer['budget']['charged']}: {answer['budget']['reason']}")
    if case.returncode is not None and run["returncode"] != case.returncode:
        faults.append(f"return code {run['returncode']}, not {case.returncode}")
    if run["sandbox"]["level"] != trial.level:
        faults.append(f"the run says it ran at {run['sandbox']['level']}")
    if run["index"] != 1 or answer["budget"]["used"] != int(answer["budget"]["charged"]):
        faults.append(f"run {run['index']}, budget {answer['budget']}")
    if case.forbidden_score in (run["metrics"] or {}).values() and case.forbidden_score is not None:
        faults.append("a forged score was taken")
    if case.output_mb and run["resources"]["output_bytes"] < case.output_mb * (1 << 20):
        faults.append(f"output_bytes {run['resources']['output_bytes']}")
    peak = run["resources"]["peak_memory_bytes"]
    if case.max_peak_mb and trial.level == "L3" and peak > case.max_peak_mb * (1 << 20):
        faults.append(f"peak memory {peak}")
    if case.max_peak_mb and trial.level != "L3" and run["outcome"] == "succeeded":
        faults.append("the memory of all processes together was not limited")
    if trial.seconds > AT_MOST_S:
        faults.append(f"took {trial.seconds:.1f} s")
    judge_text(trial, ended, answer)


def judge_text(trial: Trial, ended: Ended, answer: Any) -> None:
    """What an agent and a terminal are shown: bounded, no control characters, two voices in turn."""
    if len(ended.stdout) > ANSWER_AT_MOST:
        trial.faults.append(f"an answer of {len(ended.stdout)} characters")
    shown = [
        answer["message"],
        *(m["content"] for m in answer["messages"] if isinstance(m["content"], str)),
    ]
    for text in (*shown, ended.stderr):
        odd = re.search(
            "[^\n\t\r\x20-\x7e\xa0-\u2029\u202f-\u2065\u2070-\ud7ff\ue000-\U0010ffff]", text
        )
        if odd:
            around = text[max(0, odd.start() - 40) : odd.end() + 40]
            trial.faults.append(f"a control character is shown: {around!r}")
            break
    roles = [message["role"] for message in answer["messages"] if message["role"] != "system"]
    if roles != ["user", "assistant", "user"]:
        trial.faults.append(f"the conversation's roles are {roles}")


def judge_followup(trial: Trial, ended: Ended) -> None:
    """The run after the attack."""
    try:
        answer = ended.document()
        outcome, metrics = answer["run"]["outcome"], answer["run"]["metrics"]
    except (ValueError, TypeError, KeyError):
        trial.faults.append(
            f"the next run: exit {ended.code}: {ended.stdout[-800:]} {ended.stderr[-800:]}"
        )
        return
    if outcome != trial.case.followup:
        trial.faults.append(
            f"the next run {outcome}, not {trial.case.followup}: {answer['message'][:600]}"
        )
    if (
        trial.case.forbidden_score is not None
        and trial.case.forbidden_score in (metrics or {}).values()
    ):
        trial.faults.append("a forged score was taken by the next run")


def judge_records(trial: Trial, ground: Ground, idea: str, mark: str) -> None:
    """What is kept of the run: not too much of it, and never less than the ends of what was printed."""
    root = os.fsencode(ground.home / "ideas" / idea)
    records = [
        (path, info)
        for path, info in host.walk(Path(os.fsdecode(root)))
        if stat.S_ISREG(info.st_mode)
    ]
    size = sum(info.st_blocks * 512 for _, info in records)
    if trial.case.max_record_mb and size > trial.case.max_record_mb * (1 << 20):
        trial.faults.append(f"{size} bytes of records")
    needle = f"{trial.case.keeps}{mark}".encode()
    if trial.case.keeps and not any(needle in host.read(path) for path, _ in records):
        trial.faults.append("what was printed is not in the records")


def played(trial: Trial) -> list[str]:
    """All that is wrong with a trial at a level that has to contain its case."""
    return trial.escapes + trial.faults
