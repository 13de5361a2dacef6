"""How often the edit engine and aider's do what the author of a reply meant, on the same seeded replies.

    .venv/bin/python benchmarks/edits_accuracy.py [--aider PYTHON] [--cases 1000] [--seed 1] [--show]

`slips` makes the cases: a true edit of a real file, shown with a slip that an engine ought to forgive, or ought
to refuse. Each side gets reply and files, and answers with the new texts. An answer is one of:

- right: the very text that was meant, or where the reply ought to be refused, files that did not change;
- blanks: right but for blank lines, blanks at the ends of lines and line endings;
- refused: it ought to have been applied, and nothing was written;
- wrong: another text was written, as if the reply had succeeded;
- damaged: another text was written, although the reply as a whole was reported as failed.

What ought to be is our specification, and aider's differs from it knowingly. By its documentation it takes
the first of several places; where a block fails it writes the others, and tells the model which; it looks for
a block whose file is not there in the other files; it checks syntax after writing, and asks for repair. It
opens files as text, so it writes CRLF files with line feeds, and ends each file it edits with a line feed.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import sys
from collections import Counter, defaultdict
from pathlib import Path
from random import Random
from typing import Any

from sides import AIDER, both, serve
from slips import SLIPS, Case, make

VERDICTS = ("right", "blanks", "refused", "wrong", "damaged")
PROJECT = ("errors", "ledger", "models", "paths", "records", "templates", "worktrees")
LIBRARY = ("argparse", "dataclasses", "heapq", "json.decoder", "shlex", "textwrap", "zipfile")


def read_files() -> dict[str, str]:
    """The files under edit. Those of the library are this interpreter's; the driver sends them to both."""
    root = Path(__file__).resolve().parent.parent
    paths = {"experiment.py": root / "templates" / "experiment.py"}
    for name in PROJECT:
        paths[f"agent_runner/{name}.py"] = root / "agent_runner" / f"{name}.py"
    for name in LIBRARY:
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None
        paths[f"{name.replace('.', '/')}.py"] = Path(spec.origin)
    return {name: path.read_text(encoding="utf-8") for name, path in paths.items()}


# ---------------------------------------------------------------- the sides


def ours(reply: str, files: dict[str, str]) -> tuple[bool, dict[str, str], str]:
    """(succeeded, the files after it, what is said) by our engine."""
    from agent_runner.edits import apply_reply

    outcome = apply_reply(reply, files)
    return outcome.applied, {**files, **outcome.files}, outcome.message


def aider(reply: str, files: dict[str, str]) -> tuple[bool, dict[str, str], str]:
    """The same by aider's, as its `apply_edits` calls it."""
    from aider.coders import editblock_coder as coder

    fence = coder.DEFAULT_FENCE
    after, failed = dict(files), 0
    try:
        found = list(coder.find_original_update_blocks(reply, fence, list(files)))
    except ValueError as error:
        return False, files, str(error)
    edits = [edit for edit in found if edit[0] is not None]  # the others are shell commands
    for named, search, replace in edits:
        others = list(files) if search.strip() else []
        for name in [named] * (named in files) + others:
            text = after[name].replace("\r\n", "\n")  # aider reads files as text
            new = coder.do_replace(name, text, search, replace, fence)
            if new:
                after[name] = new
                break
        else:
            failed += 1
    return bool(edits) and not failed, after, f"{failed} of {len(edits)} blocks failed"


def answer(side: str, request: dict[str, Any]) -> tuple[bool, dict[str, str], str]:
    return (ours if side == "ours" else aider)(request["reply"], request["files"])


# ---------------------------------------------------------------- the driver


def judge(case: Case, succeeded: bool, after: dict[str, str]) -> str:
    """One of VERDICTS."""
    before = dict([(case.name, case.text), case.other])
    want = {**before, case.name: case.want} if case.applies else before
    if after == want:
        return "right"
    if all(loose(after[name]) == loose(want[name]) for name in want):
        return "blanks"
    if after == before:
        return "refused"
    return "wrong" if succeeded else "damaged"


def loose(text: str) -> list[str]:
    """The lines that are not blank, without blanks at their ends."""
    return [line.rstrip() for line in text.split("\n") if line.strip()]


def row_of(case: Case) -> str:
    """The row of the table that a case counts in."""
    if len(case.slips) == 1:
        return case.slips[0].name
    return "two slips, to be " + ("applied" if case.applies else "refused")


def show(case: Case, verdict: str, after: dict[str, str], message: str) -> None:
    """A case that our engine did not get right, to stderr."""
    print(f"==== {verdict}: {' + '.join(slip.name for slip in case.slips)}", file=sys.stderr)
    print(f"{case.name}\n{case.reply}\n---- {message}", file=sys.stderr)
    meant = case.want if case.applies else case.text
    lines = difflib.unified_diff(
        meant.splitlines(), after[case.name].splitlines(), "meant", "got", n=1, lineterm=""
    )
    print("\n".join(lines), file=sys.stderr)


def table(counts: dict[str, Counter[tuple[str, str]]]) -> None:
    """A row per slip and the totals."""
    columns = [(side, verdict) for side in ("aider", "ours") for verdict in VERDICTS]
    print(f"| slip | right is | cases | {' | '.join(' '.join(column) for column in columns)} |")
    print("|---|---|---:|" + "---:|" * len(columns))
    names = {slip.name: "apply" if slip.applies else "refuse" for slip in SLIPS}
    names |= {"two slips, to be applied": "apply", "two slips, to be refused": "refuse"}
    for name in sorted(names, key=lambda name: names[name]):
        cells = [str(counts[name][column] or "") for column in columns]
        print(f"| {name} | {names[name]} | {counts[name].total() // 2} | {' | '.join(cells)} |")
    total = sum(counts.values(), Counter[tuple[str, str]]())
    number = total.total() // 2
    cells = [f"{total[column]} ({total[column] / number:.1%})" for column in columns]
    print(f"| **all** | | {number} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--aider", help="a Python that has aider-chat")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", action="store_true", help="print what ours did not get right")
    parser.add_argument("--side", choices=("ours", "aider"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        return serve(lambda request: answer(options.side, request))
    sides = dict(zip(("ours", "aider"), both(__file__, options.aider), strict=True))
    rng, files = Random(options.seed), read_files()
    counts: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for _ in range(options.cases):
        case = make(rng, files)
        request = {"reply": case.reply, "files": dict([(case.name, case.text), case.other])}
        for name, side in sides.items():
            succeeded, after, message = side.ask(request)
            verdict = judge(case, succeeded, after)
            counts[row_of(case)][(name, verdict)] += 1
            if options.show and name == "ours" and verdict != "right":
                show(case, verdict, after, message)
    print(f"{options.cases:,} cases, seed {options.seed}, {AIDER}\n")
    table(counts)


if __name__ == "__main__":
    main()
