"""What the static checks say of code that is known to run: the Python files of this installation.

    .venv/bin/python benchmarks/refusals.py [--sample 3000] [--show]

Each file is judged by itself, as an edited experiment.py would be, without its neighbours and without a type
checker. An error would refuse it. Some of these files are broken on purpose (tests of parsers), are never run
as they stand, or hold a fault that nobody has met yet: `--show` prints every error, to be looked at.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import sysconfig
import time
from collections import Counter
from pathlib import Path

from agent_runner.validation import check_static

MAX_BYTES = 300_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, help="so many files, chosen with seed 1; default all")
    parser.add_argument("--show", action="store_true", help="print every error")
    options = parser.parse_args()
    folders = (sysconfig.get_path("purelib"), sysconfig.get_path("stdlib"))
    paths = sorted({path for folder in folders for path in Path(folder).rglob("*.py")})
    if options.sample:
        paths = random.Random(1).sample(paths, min(options.sample, len(paths)))
    errors: Counter[str] = Counter()
    warnings: Counter[str] = Counter()
    seconds, refused, judged = [], 0, 0
    for path in paths:
        text = read(path)
        if text is None:
            continue
        began = time.perf_counter()
        found = check_static({"experiment.py": text})
        seconds.append(time.perf_counter() - began)
        judged += 1
        faults = [problem for problem in found if problem.severity == "error"]
        refused += bool(faults)
        errors.update(problem.kind for problem in faults)
        warnings.update(problem.kind for problem in found if problem.severity == "warning")
        if options.show:
            for problem in faults:
                print(f"{path}: {problem.message[:200]}", flush=True)
    print(f"{judged} files, {refused} refused: {dict(errors)}; warnings: {dict(warnings)}")
    print(
        f"{1000 * statistics.median(seconds):.0f} ms a file (median), {max(seconds):.1f} s at most; "
        f"{sum(seconds):.0f} s in all"
    )
    return 0


def read(path: Path) -> str | None:
    """The text of a file, or None for one that is no UTF-8, too large, or does not compile here."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8")
        compile(data, str(path), "exec", dont_inherit=True)
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return text if len(data) <= MAX_BYTES else None


if __name__ == "__main__":
    import warnings as interpreter_warnings

    interpreter_warnings.simplefilter("ignore")  # of the files' own syntax
    sys.exit(main())
