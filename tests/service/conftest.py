"""A template without torch: a one-parameter model whose score depends on the code, in milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent_runner.records import Idea
from agent_runner.service import Runner

EXPERIMENT = """\
import argparse
import json
import os


class Model:
    def __init__(self):
        self.rate = 0.1


class Trainer:
    def __init__(self, model):
        self.model = model

    def loss(self):
        return 1.0 - self.model.rate


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out_dir", type=str, default="run_0")
    args = parser.parse_args()
    os.makedirs(args.out_dir, exist_ok=True)
    loss = Trainer(Model()).loss()
    print("loss", loss)
    with open(os.path.join(args.out_dir, "final_info.json"), "w") as file:
        json.dump({"toy": {"means": {"loss": loss}}}, file)
"""


@pytest.fixture
def template(tmp_path: Path) -> Path:
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "experiment.py").write_text(EXPERIMENT)
    (folder / "data.py").write_text("VALUES = [1, 2, 3]\n")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def runner(home: Path) -> Runner:
    return Runner(home)


@pytest.fixture
def idea(runner: Runner, template: Path) -> Idea:
    return runner.create_idea("A toy idea", template=template, plan="Try a rate.", max_runs=3)


def block(search: str, replace: str) -> str:
    return f"experiment.py\n```python\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n```\n"


@pytest.fixture
def edit() -> Callable[[str, str], str]:
    """A reply that replaces one line of the toy experiment."""
    return block
