"""How long until the cause of a fault is known: here, and by running the bare command.

    .venv/bin/python benchmarks/time_to_cause.py [--recordings FOLDER] [--rounds 1]

Plays ten seeded faults, and the replies of the recorded conversations where their folder is given, on the
default template with its embedded model. Here: `propose`, until the Observation names the cause. Bare: the
same file, `python experiment.py --out_dir=run_1` in a copy of the template, until it has ended; once with
nothing prepared, and once with the cache that the runner has filled before. The sides run in turn. A tail:
do the last 1,500 characters of the bare command's stderr hold the line of the agent's file that is at fault?
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent_runner import Runner
from agent_runner.chatlogs import parse_chat_log
from agent_runner.edits import apply_reply
from agent_runner.records import Observation
from agent_runner.templates import default_folder

GOAL = 10.0
TAIL = 1_500
ENCODE = "        acts = torch.relu(pre_acts)"
LOSS = "        l1_loss = f.norm(p=1, dim=-1).mean()"
DECODE = "        return acts @ self.W_dec + self.b_dec"
MAKE_FOLDER = "    os.makedirs(args.out_dir, exist_ok=True)"
WRITE = "    final_info = results.write(args.out_dir, trainer.ae, scores, log, trainer.config)"
SEEDED: dict[str, tuple[tuple[str, str], ...]] = {
    "a module that is not imported": ((ENCODE, "        acts = F.relu(pre_acts)"),),
    "an option that is not declared": (
        (MAKE_FOLDER, MAKE_FOLDER + "\n    seeds.set_seed(args.seed)"),
    ),
    "a buffer of the SAE read on the trainer": (
        (
            "        self.activation_dim = d_in",
            "        self.activation_dim = d_in\n"
            '        self.register_buffer("feature_weights", torch.ones(d_sae))',
        ),
        (LOSS, "        l1_loss = (f * self.feature_weights).norm(p=1, dim=-1).mean()"),
    ),
    "a bracket that is not closed": ((LOSS, "        l1_loss = (f.norm(p=1, dim=-1).mean()"),),
    "a transposed decoder": ((DECODE, "        return acts @ self.W_dec.T + self.b_dec"),),
    "encode for three dimensions only": (
        (
            ENCODE,
            '        pre_acts = torch.einsum("bsd,df->bsf", input_acts, self.W_enc)\n' + ENCODE,
        ),
    ),
    "a change in place that backward needs": (
        (
            LOSS,
            "        f.mul_(f > 0.01)\n" + LOSS + "\n        l1_loss = l1_loss * f.exp_().mean()",
        ),
    ),
    "a loss that is not a number": ((LOSS, "        l1_loss = (f * f.log()).sum(dim=-1).mean()"),),
    "a package that is not installed": (
        ("import numpy as np", "import numpy as np\nfrom entmax import sparsemax"),
        (ENCODE, "        acts = sparsemax(pre_acts)"),
    ),
    "a fault after the training": (
        (WRITE, '    scores["dead"] = trainer.dead_fraction\n' + WRITE),
    ),
}


@dataclass(frozen=True)
class Fault:
    """A proposal, and the file that the bare command runs."""

    name: str
    reply: str
    before: tuple[str, ...]  # replies of the same conversation that came first
    text: str


@dataclass(frozen=True)
class Times:
    """Seconds on both sides, what the cause was called here, and whether a tail shows its line."""

    name: str
    ours: float
    bare: float  # with nothing prepared
    warm: float  # with the runner's cache
    cause: str
    in_tail: bool


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recordings", type=Path, help="folder of recorded conversations (*.txt)")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    original = (default_folder() / "experiment.py").read_text()
    faults = [*recorded(options.recordings, original), *seeded(original)]
    with tempfile.TemporaryDirectory(prefix="time-to-cause-") as scratch:
        bench = Bench(Path(scratch))
        found = [bench.measure(fault) for _ in range(options.rounds) for fault in faults]
    return report(found)


def seeded(original: str) -> Iterator[Fault]:
    """The ten faults of this file."""
    for name, edits in SEEDED.items():
        text, blocks = original, []
        for search, replace in edits:
            assert text.count(search + "\n") == 1, (name, search)
            text = text.replace(search + "\n", replace + "\n")
            blocks.append(
                f"experiment.py\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"
            )
        yield Fault(name, "\n".join(blocks), (), text)


def recorded(folder: Path | None, original: str) -> Iterator[Fault]:
    """The replies of recorded conversations, each as it really was sent."""
    for log in sorted(folder.glob("*.txt")) if folder else ():
        text, earlier = original, []
        for number, reply in enumerate(parse_chat_log(log.read_text()).replies, start=1):
            outcome = apply_reply(reply.text, {"experiment.py": text})
            if not outcome.applied or outcome.files["experiment.py"] == text:
                continue
            text = outcome.files["experiment.py"]
            yield Fault(
                f"recording {log.name[:3]}, reply {number}", reply.text, tuple(earlier), text
            )
            earlier.append(reply.text)


class Bench:
    """One home with a measured baseline, and a copy of the template for the bare command."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._runner = Runner(scratch / "home")
        first = self._runner.create_idea("Baseline", template=default_folder())
        print("measuring the baseline, which also fills the cache ...", flush=True)
        self._runner.baseline(first.id)
        self._bare = scratch / "bare"
        shutil.copytree(default_folder(), self._bare)

    def measure(self, fault: Fault) -> Times:
        idea = self._runner.create_idea(fault.name, template=default_folder())
        self._runner.baseline(idea.id)  # shared with the first one: costs nothing
        for reply in fault.before:
            self._runner.propose(idea.id, reply)
        began = time.perf_counter()
        observation = self._runner.propose(idea.id, fault.reply)
        ours = time.perf_counter() - began
        warm, _ = self._run_bare(fault.text, self._scratch / "home" / "cache")
        with tempfile.TemporaryDirectory(dir=self._scratch) as empty:
            bare, errors = self._run_bare(fault.text, Path(empty))
        cause, code = cause_of(observation)
        times = Times(fault.name, ours, bare, warm, cause, bool(code) and code in errors[-TAIL:])
        print(f"{times.name}: {ours:.2f} s here, {bare:.1f} s bare: {cause}", flush=True)
        return times

    def _run_bare(self, text: str, cache: Path) -> tuple[float, str]:
        (self._bare / "experiment.py").write_text(text)
        shutil.rmtree(self._bare / "run_1", ignore_errors=True)
        environment = {**os.environ, "AGENT_RUNNER_CACHE": str(cache)}
        command = [sys.executable, "experiment.py", "--out_dir=run_1"]
        began = time.perf_counter()
        done = subprocess.run(
            command, cwd=self._bare, env=environment, capture_output=True, text=True
        )
        return time.perf_counter() - began, done.stderr


def cause_of(observation: Observation) -> tuple[str, str]:
    """(kind at file:line, that line of the file); kind empty where the run went well."""
    errors = [problem for problem in observation.problems if problem.severity == "error"]
    if not errors:
        return "", ""
    problem = errors[0]
    file = Path(observation.links["worktree"] or "") / (problem.path or "")
    lines = file.read_text().split("\n") if file.is_file() else []
    code = lines[problem.line - 1].strip() if problem.line and problem.line <= len(lines) else ""
    place = f" at {problem.path}:{problem.line}" if problem.line else ""
    return f"{problem.kind}{place} ({observation.stage})", code


def report(found: list[Times]) -> int:
    """Print the table; 1 when the goal is missed."""
    print(
        "\n| fault | here, s | bare, s | times | bare with our cache, s | times "
        "| cause, and where it was found | in a tail |\n|---|---|---|---|---|---|---|---|"
    )
    faults = [times for times in found if times.cause]
    for times in found:
        if not times.cause:
            print(
                f"| {times.name} | {times.ours:.2f} | {times.bare:.1f} | | {times.warm:.1f} | | it runs | |"
            )
            continue
        print(
            f"| {times.name} | {times.ours:.2f} | {times.bare:.1f} | {times.bare / times.ours:.1f} "
            f"| {times.warm:.1f} | {times.warm / times.ours:.1f} | {times.cause} "
            f"| {'yes' if times.in_tail else 'no'} |"
        )
    median = statistics.median(times.bare / times.ours for times in faults)
    warm = statistics.median(times.warm / times.ours for times in faults)
    print(
        f"\n{len(faults)} faults; median: {median:.1f} times sooner (goal {GOAL:.0f}), {warm:.1f} times where "
        "the bare command finds the runner's cache"
    )
    return int(median < GOAL)


if __name__ == "__main__":
    sys.exit(main())
