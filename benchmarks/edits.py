"""The edit engine beside aider's, both in one run and in turn.

    .venv/bin/python benchmarks/edits.py [--aider PYTHON] [--rounds 5] [--quick]

Without `--aider`, aider-chat is installed into an environment of its own under `.bench/` (once; it is no
dependency of ours). Each side is a process that makes the same case from the same numbers and times it; rounds
alternate, so that a change of the machine's speed meets both. Prints medians, their ratios, and which of the
goals are met.

Two things are timed. `reply`: a whole reply -> new text, or the message why not. For aider that is
`find_original_update_blocks`, `do_replace` and, where that fails, `find_similar_lines`; ours is `apply_reply`,
which also checks placeholders, repeats and Python's syntax, and writes a diff. `place`: one block that is
already parsed -> the new text, without any of that (aider's `do_replace`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

AIDER = "aider-chat==0.86.2"
SIZES = (500, 5_000, 50_000)
BLOCKS = (5, 20, 100)
KINDS = ("exact", "dedented", "no match")
FILE = "module.py"
_SLOW = 1.0  # seconds; a call that takes longer is timed once


@dataclass(frozen=True)
class Case:
    """One cell: how many lines the file and SEARCH have, and how SEARCH differs from the file."""

    timed: str  # "reply" or "place"
    kind: str
    lines: int
    search: int


@dataclass(frozen=True)
class Edit:
    text: str
    search: list[str]
    replace: list[str]

    @property
    def reply(self) -> str:
        old, new = "\n".join(self.search), "\n".join(self.replace)
        block = f"<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE"
        return f"The change:\n\n{FILE}\n```python\n{block}\n```\n"


_METHOD = '''\
    def update_{i}(self, batch, rate=0.{i}):
        """Move the weights of group {i} by one step."""
        scale_{i} = batch.mean() * {i} + rate
        for row in batch:
            self.total_{i} += row.sum() * scale_{i}
        return self.total_{i}

'''


def make(case: Case) -> Edit:
    """A file of classes with 24 methods each, and an edit of the class that 90 % of the file lies in."""
    text = []
    for i in range(case.lines // 7):
        if i % 24 == 0:
            text.append(f"\n\nclass Group{i}:\n")
        text.append(_METHOD.format(i=i))
    lines = "".join(text).split("\n")[: case.lines]
    while lines[-1][:8] != " " * 8 or "return" not in lines[-1]:
        lines.pop()
    headers = [row for row, line in enumerate(lines) if line.startswith("class")]
    fitting = [row for row in headers if row + 1 + case.search < len(lines)]
    start = 1 + max(row for row in fitting if row <= max(0.9 * len(lines), fitting[0]))
    search = lines[start : start + case.search]
    replace = list(search)
    replace[2] += " + 1"
    if case.kind == "dedented":
        search, replace = ([line[4:] for line in part] for part in (search, replace))
    elif case.kind == "no match":
        middle = case.search // 2
        search[middle] = search[middle].replace("self", "cls") + "  # renamed"
    return Edit("\n".join(lines) + "\n", search, replace)


# ---------------------------------------------------------------- the sides


def ours(case: Case, edit: Edit) -> Callable[[], bool]:
    """A call of our engine; true when it applied."""
    from agent_runner.edits import apply_reply
    from agent_runner.edits.draft import Draft
    from agent_runner.edits.places import find_places
    from agent_runner.edits.replace import merge

    def reply() -> bool:
        return apply_reply(edit.reply, {FILE: edit.text}).applied

    def place() -> bool:
        draft = Draft(edit.text)
        hits = find_places(draft, [(edit.search, edit.replace)])
        for part in hits[0].parts:
            start, pieces = merge(draft.text, part)
            draft.splice(start, part.end, pieces, block=1)
        return draft.text != edit.text

    return reply if case.timed == "reply" else place


def aider(case: Case, edit: Edit) -> Callable[[], bool]:
    """The same with aider's engine, as its `apply_edits` calls it."""
    from aider.coders import editblock_coder as coder

    fence = ("```", "```")
    old, new = ("".join(f"{line}\n" for line in part) for part in (edit.search, edit.replace))

    def reply() -> bool:
        applied = True
        for name, search, replace in coder.find_original_update_blocks(edit.reply, fence, [FILE]):
            if not coder.do_replace(name, edit.text, search, replace, fence):
                coder.find_similar_lines(search, edit.text)
                applied = False
        return applied

    def place() -> bool:
        return bool(coder.do_replace(FILE, edit.text, old, new, fence))

    return reply if case.timed == "reply" else place


def serve(side: Callable[[Case, Edit], Callable[[], bool]]) -> None:
    """Time each case that stdin names, and print seconds for one call."""
    for line in sys.stdin:
        case = Case(**json.loads(line))
        call = side(case, make(case))
        began = time.perf_counter()
        applied = call()
        first = time.perf_counter() - began
        assert applied == (case.kind != "no match"), case
        seconds = first if first > _SLOW else _per_call(call, first)
        print(json.dumps(seconds), flush=True)


def _per_call(call: Callable[[], bool], first: float) -> float:
    times = []
    for _ in range(max(5, min(200, int(0.1 / first)))):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


# ---------------------------------------------------------------- the driver


class Side:
    """A process that times one engine."""

    def __init__(self, python: str, name: str) -> None:
        command = [python, __file__, "--side", name]
        environment = {
            "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
            "PATH": "/usr/bin:/bin",
        }
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def seconds(self, case: Case) -> float:
        """Seconds for one call."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(case)) + "\n")
        self._process.stdin.flush()
        return float(json.loads(self._process.stdout.readline()))


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


def measure(our: Side, their: Side, case: Case, rounds: int) -> tuple[float, float]:
    """Median seconds of both sides, in turn."""
    our_times, their_times = [], []
    for _ in range(rounds):
        our_times.append(our.seconds(case))
        their_times.append(their.seconds(case))
        if their_times[-1] > _SLOW:
            break
    return statistics.median(our_times), statistics.median(their_times)


def cases(sizes: tuple[int, ...]) -> Iterator[Case]:
    """Every cell. Without a place there is nothing but the reply to time."""
    for timed in ("place", "reply"):
        for kind in KINDS[: 2 if timed == "place" else 3]:
            for lines in sizes:
                for search in BLOCKS:
                    yield Case(timed, kind, lines, search)


def goal(case: Case) -> float:
    """How many times faster than aider the cell ought to be."""
    if case.kind == "exact" and case.timed == "place":
        return 30
    if case.kind == "no match":
        return {20: 5, 100: 200}.get(case.search, 1)
    return 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--aider", help="a Python that has aider-chat")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="leave out 50,000 lines")
    parser.add_argument("--side", choices=("ours", "aider"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        return serve(ours if options.side == "ours" else aider)
    root = Path(__file__).resolve().parent.parent
    their_python = options.aider or scratch_aider(root / ".bench" / "aider")
    our, their = Side(sys.executable, "ours"), Side(their_python, "aider")
    print(f"| timed | kind | lines | SEARCH | {AIDER} ms | ours ms | ratio | goal |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    missed = 0
    for case in cases(SIZES[:2] if options.quick else SIZES):
        mine, theirs = measure(our, their, case, options.rounds)
        ratio, wanted = theirs / mine, goal(case)
        missed += ratio < wanted
        cells = [case.timed, case.kind, f"{case.lines:,}", str(case.search), f"{1000 * theirs:.2f}"]
        cells += [f"{1000 * mine:.3f}", f"{ratio:,.1f}", f"{wanted:g}"]
        print(f"| {' | '.join(cells)}{'' if ratio >= wanted else ' missed'} |", flush=True)
    print(f"\n{missed} goals missed" if missed else "\nevery goal met")


if __name__ == "__main__":
    main()
