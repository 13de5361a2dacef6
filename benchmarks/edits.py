"""The edit engine beside aider's, both in one run and in turn.

    .venv/bin/python benchmarks/edits.py [--aider PYTHON] [--rounds 5] [--quick]

Without `--aider`, aider-chat is installed into an environment of its own under `.bench/` (once; it is no
dependency of ours). Each side is a process that makes the same case from the same numbers and times it; rounds
alternate, so that a change of the machine's speed meets both. Prints medians, their ratios, and which of the
goals are met.

What is timed, each for files of three sizes and SEARCHes of three:

- `find`: where SEARCH stands, and that it stands nowhere else. aider does not tell this from what follows.
- `place`: one block that is already parsed -> the new text (aider's `do_replace`).
- `reply`: a whole reply -> the new text of a text file, or the message why not. For aider that is
  `find_original_update_blocks`, `do_replace` and, where that fails, `find_similar_lines`; ours is
  `apply_reply`, which also looks for placeholders and repeats, and writes a diff.
- `checked`: the same for a Python file, with its syntax checked: a part of `apply_reply`; for aider the compile
  step of its own linter, `lint_python_compile`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from sides import AIDER, Side, both, serve

SIZES = (500, 5_000, 50_000)
BLOCKS = (5, 20, 100)
KINDS = ("exact", "dedented", "no match")
TIMED = {"find": KINDS[:1], "place": KINDS[:2], "reply": KINDS, "checked": KINDS[:2]}
_SLOW = 1.0  # seconds; a call that takes longer is timed once


@dataclass(frozen=True)
class Case:
    """One cell: how many lines the file and SEARCH have, and how SEARCH differs from the file."""

    timed: str  # one of TIMED
    kind: str
    lines: int
    search: int


@dataclass(frozen=True)
class Edit:
    """A file, and a change of it."""

    file: str
    text: str
    search: list[str]
    replace: list[str]

    @property
    def reply(self) -> str:
        old, new = "\n".join(self.search), "\n".join(self.replace)
        block = f"<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE"
        return f"The change:\n\n{self.file}\n```python\n{block}\n```\n"


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
    file = "module.py" if case.timed == "checked" else "module.txt"
    return Edit(file, "\n".join(lines) + "\n", search, replace)


# ---------------------------------------------------------------- the sides


def ours(case: Case, edit: Edit) -> Callable[[], bool]:
    """A call of our engine; true when it applied."""
    from agent_runner.edits import apply_reply
    from agent_runner.edits.draft import Draft
    from agent_runner.edits.places import find_places
    from agent_runner.edits.replace import merge

    def find() -> bool:
        return len(find_places(Draft(edit.text), [(edit.search, edit.replace)])) == 1

    def place() -> bool:
        draft = Draft(edit.text)
        (hit,) = find_places(draft, [(edit.search, edit.replace)])
        for part in hit.parts:
            start, pieces = merge(draft.text, part)
            draft.splice(start, part.end, pieces, block=1)
        return True

    def reply() -> bool:
        return apply_reply(edit.reply, {edit.file: edit.text}).applied

    return {"find": find, "place": place}.get(case.timed, reply)


def aider(case: Case, edit: Edit) -> Callable[[], bool]:
    """The same with aider's engine, as its `apply_edits` calls it."""
    from aider.coders import editblock_coder as coder
    from aider.linter import lint_python_compile

    fence = ("```", "```")
    old, new = ("".join(f"{line}\n" for line in part) for part in (edit.search, edit.replace))

    def place() -> bool:
        return bool(coder.do_replace(edit.file, edit.text, old, new, fence))

    def reply() -> bool:
        blocks = coder.find_original_update_blocks(edit.reply, fence, [edit.file])
        for name, search, replace in blocks:
            text = coder.do_replace(name, edit.text, search, replace, fence)
            if not text:
                coder.find_similar_lines(search, edit.text)
                return False
            if case.timed == "checked":
                assert lint_python_compile(name, text) is None
        return True

    return place if case.timed in ("find", "place") else reply


def timed(side: Callable[[Case, Edit], Callable[[], bool]], request: dict[str, Any]) -> float:
    """Seconds for one call of the case."""
    case = Case(**request)
    call = side(case, make(case))
    began = time.perf_counter()
    applied = call()
    first = time.perf_counter() - began
    assert applied == (case.kind != "no match"), case
    return first if first > _SLOW else _per_call(call, first)


def _per_call(call: Callable[[], bool], first: float) -> float:
    times = []
    for _ in range(max(5, min(200, int(0.1 / first)))):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


# ---------------------------------------------------------------- the driver


def measure(our: Side, their: Side, case: Case, rounds: int) -> tuple[float, float]:
    """Median seconds of both sides, in turn."""
    our_times, their_times = [], []
    for _ in range(rounds):
        our_times.append(our.ask(asdict(case)))
        their_times.append(their.ask(asdict(case)))
        if their_times[-1] > _SLOW:
            break
    return statistics.median(our_times), statistics.median(their_times)


def cases(sizes: tuple[int, ...]) -> Iterator[Case]:
    """Every cell."""
    for what, kinds in TIMED.items():
        for kind in kinds:
            for lines in sizes:
                for search in BLOCKS:
                    yield Case(what, kind, lines, search)


def goal(case: Case) -> float:
    """How many times faster than aider the cell ought to be."""
    if case.timed == "find":
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
        return serve(partial(timed, ours if options.side == "ours" else aider))
    our, their = both(__file__, options.aider)
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
