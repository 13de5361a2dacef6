"""What the runner adds to a run: a whole proposal around a no-op experiment, beside the bare command.

    .venv/bin/python benchmarks/proposal_overhead.py [--rounds 20]

Both sides run in turn, so that a change of the machine's speed meets both. Prints medians and the difference.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from agent_runner import Runner

EXPERIMENT = """\
import json, os, sys
RATE = 0
out_dir = sys.argv[1].split("=", 1)[1]
os.makedirs(out_dir, exist_ok=True)
json.dump({"metrics": {"rate": RATE}}, open(os.path.join(out_dir, "final_info.json"), "w"))
"""


def reply(old: int, new: int) -> str:
    return f"experiment.py\n<<<<<<< SEARCH\nRATE = {old}\n=======\nRATE = {new}\n>>>>>>> REPLACE\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "template"
        folder.mkdir()
        (folder / "experiment.py").write_text(EXPERIMENT)
        runner = Runner(Path(scratch) / "home")
        idea = runner.create_idea("No-op", template=folder, max_runs=rounds)
        runner.baseline(idea.id)
        bare, whole = [], []
        for number in range(rounds):
            began = time.perf_counter()
            command = [sys.executable, "experiment.py", f"--out_dir=bare_{number}"]
            subprocess.run(command, cwd=folder, check=True)
            bare.append(time.perf_counter() - began)
            began = time.perf_counter()
            observation = runner.propose(idea.id, reply(number, number + 1))
            whole.append(time.perf_counter() - began)
            assert observation.run is not None and observation.run.metrics == {"rate": number + 1}
    bare_ms, whole_ms = (1000 * statistics.median(times) for times in (bare, whole))
    print(f"bare command     {bare_ms:7.1f} ms  (median of {rounds})")
    print(f"whole proposal   {whole_ms:7.1f} ms")
    print(
        f"added            {whole_ms - bare_ms:7.1f} ms, {whole_ms / bare_ms:.1f} x the bare command"
    )


if __name__ == "__main__":
    main()
