"""A folder in the shape of an AI-Scientist template runs as it is: no template.toml, its own conventions."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_runner.records import Outcome
from agent_runner.service import Runner

EXPERIMENT = """\
import argparse
import json
import os.path as osp
import pathlib
import pickle

from datasets import get_dataset  # a module of the template, named like a library

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--num_train_steps", type=int, default=100)
    parser.add_argument("--learning_rate", type=float, default=0.5)
    parser.add_argument("--out_dir", type=str, default="run_0")
    config = parser.parse_args()
    pathlib.Path(config.out_dir).mkdir(parents=True, exist_ok=True)
    final_infos, all_results = {}, {}
    for name in ("circle", "line"):
        error = 1.0
        for step in range(config.num_train_steps):
            error *= 1 - config.learning_rate / len(get_dataset(name))
        final_infos[name] = {
            "means": {"eval_loss": error, "training_time": 0.25},
            "stderrs": {"eval_loss": 0.0, "training_time": 0.0},
            "final_info_dict": {"eval_loss": [error]},
        }
        all_results[name] = [error]
    with open(osp.join(config.out_dir, "final_info.json"), "w") as f:
        json.dump(final_infos, f)
    with open(osp.join(config.out_dir, "all_results.pkl"), "wb") as f:
        pickle.dump(all_results, f)
"""

EDIT = """\
experiment.py
```python
<<<<<<< SEARCH
    parser.add_argument("--learning_rate", type=float, default=0.5)
=======
    parser.add_argument("--learning_rate", type=float, default=0.9)
>>>>>>> REPLACE
```

notes.txt
```
<<<<<<< SEARCH
# Title: shapes
=======
# Title: shapes
Run 1: a larger learning rate.
>>>>>>> REPLACE
```
"""


@pytest.fixture
def template(tmp_path: Path) -> Path:
    folder = tmp_path / "shapes"
    (folder / "run_0").mkdir(parents=True)
    (folder / "run_0" / "final_info.json").write_text('{"stale": {"means": {"eval_loss": 0.0}}}')
    (folder / "experiment.py").write_text(EXPERIMENT)
    (folder / "datasets.py").write_text("def get_dataset(name):\n    return [name] * 40\n")
    (folder / "plot.py").write_text("print('plots')\n")
    (folder / "notes.txt").write_text("# Title: shapes\n")
    (folder / "prompt.json").write_text('{"system": "You are a researcher."}')
    (folder / "seed_ideas.json").write_text("[]")
    return folder


def test_it_runs_unchanged_and_its_metrics_are_compared(template: Path, tmp_path: Path) -> None:
    runner = Runner(tmp_path / "home")
    idea = runner.create_idea("Faster shapes", template=template)
    assert idea.template.editable == ("experiment.py", "plot.py", "notes.txt")
    observation = runner.propose(idea.id, EDIT)
    run = observation.run
    assert run is not None and run.comparison is not None
    assert run.outcome is Outcome.SUCCEEDED, observation.message
    assert set(run.metrics) == {
        "circle/eval_loss",
        "circle/training_time",
        "line/eval_loss",
        "line/training_time",
    }
    difference = run.comparison.metrics["circle/eval_loss"]
    assert difference.baseline == pytest.approx((1 - 0.5 / 40) ** 100)
    assert difference.difference < 0
    assert run.findings == ()
    worktree = Path(observation.links["worktree"] or "")
    assert (worktree / "run_1" / "all_results.pkl").exists()
    assert "stale" not in (worktree / "run_0" / "final_info.json").read_text()
