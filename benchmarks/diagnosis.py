"""How often the diagnosis of the catalogue's failures is right, beside what a tail of stderr would have shown.

    .venv/bin/python benchmarks/diagnosis.py

For each kind of failure: programs; kind and line right from the whole record; kind right from the saved log
alone; words that tell the cause and the faulty line found in the last 1,500 characters of stderr, which is
what AI-Scientist hands to its model. Then every confusion, and how long a diagnosis takes.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "failures"))

from failure_catalogue import EDITABLE, Case, load

from agent_runner.failures import diagnose, explain_log
from agent_runner.paths import read_text
from agent_runner.records import Failure

TAIL = 1_500


def main() -> int:
    rows: dict[str, list[dict[str, bool]]] = defaultdict(list)
    confusions, seconds = [], []
    for case in load():
        evidence = case.evidence()
        began = time.perf_counter()
        failure = diagnose(evidence)
        seconds.append(time.perf_counter() - began)
        from_log = explain_log(case.log(), editable=EDITABLE)
        rows[case.kind].append(judge(case, failure, from_log))
        if failure is None or failure.kind != case.kind:
            confusions.append(f"{case.name}: {case.kind} was called {failure and failure.kind}")
        if from_log.kind != case.kind:
            confusions.append(f"{case.name}, log alone: {case.kind} was called {from_log.kind}")
    print_table(rows)
    print("\n" + "\n".join(confusions))
    print(
        f"\nA diagnosis takes {1000 * statistics.median(seconds):.1f} ms (median), "
        f"{1000 * max(seconds):.0f} ms at most."
    )
    return int(any(not row["kind"] or not row["line"] for found in rows.values() for row in found))


def judge(case: Case, failure: Failure | None, from_log: Failure) -> dict[str, bool]:
    """What is right about one case, from the record, from the log, and from the tail of stderr."""
    tail = read_text(case.record.stderr)[-TAIL:]
    return {
        "kind": failure is not None and failure.kind == case.kind,
        "line": failure is not None and place_of(failure) == case.place,
        "log": from_log.kind == case.kind,
        "log line": place_of(from_log) == case.place,
        "tail": bool(case.says) and case.says[0] in tail,
        "tail line": case.place is not None and marked_code(case) in tail,
        "has line": case.place is not None,
    }


def place_of(failure: Failure) -> str | None:
    place = failure.location
    return f"{Path(place.file).name}:{place.line}" if place else None


def marked_code(case: Case) -> str:
    assert case.place is not None
    name, _, line = case.place.rpartition(":")
    return (case.folder / name).read_text().split("\n")[int(line) - 1].strip()


def print_table(rows: dict[str, list[dict[str, bool]]]) -> None:
    columns = ("kind", "line", "log", "log line", "tail")
    print(
        "| kind | programs | kind | line | kind, log alone | line, log alone "
        "| cause in a tail | line in a tail |"
    )
    print("|---|---|---|---|---|---|---|---|")
    everything = [row for found in rows.values() for row in found]
    for name, found in [*sorted(rows.items()), ("all", everything)]:
        cells = [str(sum(row[column] for row in found)) for column in columns]
        lines = [row for row in found if row["has line"]]
        cells.append(f"{sum(row['tail line'] for row in lines)} of {len(lines)}")
        print(f"| {name} | {len(found)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    sys.exit(main())
