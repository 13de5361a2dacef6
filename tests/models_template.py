"""A template without torch that asks for a language model as the SAE template does, in milliseconds."""

from __future__ import annotations

from pathlib import Path

EXPERIMENT = """\
import argparse
import json
import os
import random

SEED = 42
OFFSET = int(os.environ.get("AGENT_RUNNER_SEED_OFFSET", "0"))
SKILL = {"org/large": 0.9, "org/small": 0.6, "org/tiny": 0.3}


def grant(name):
    table = json.loads(os.environ["AGENT_RUNNER_MODELS"])
    answer = table.get(name) or table["*"]
    used = {"requested": name, "granted": answer["granted"], "reason": answer["reason"]}
    event = {"model": used} if used["granted"] else {"model_refused": used}
    with open(os.path.join(os.environ["AGENT_RUNNER_RECORD_DIR"], "events.jsonl"), "a") as file:
        file.write(json.dumps(event) + "\\n")
    if answer["granted"] is None:
        raise LookupError(f"{name} cannot be used: {answer['reason']}")
    return answer["granted"]


class Trainer:
    def __init__(self):
        self.rate = 0.1


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out_dir", type=str, default="run_0")
    args = parser.parse_args()
    os.makedirs(args.out_dir, exist_ok=True)
    model_name = "org/large"
    skill = SKILL[grant(model_name)]
    noise = random.Random(SEED + OFFSET).gauss(0, 0.01)
    metrics = {"accuracy": skill + Trainer().rate + noise, "reference": skill}
    with open(os.path.join(args.out_dir, "final_info.json"), "w") as file:
        json.dump({"metrics": metrics}, file)
"""

SETTINGS = """\
name = "models"
editable = ["experiment.py"]

[smoke]
command = "python experiment.py --out_dir={out_dir}"

[noise]
seeds = [1, 2, 3]

[[models]]
name = "org/large"
path = "models/large"
needs_gpu = true

[[models]]
name = "org/small"
path = "models/small"

[[models]]
name = "org/tiny"
path = "models/tiny"
"""


def write_template(folder: Path) -> Path:
    """A template with three shipped models; the first, which it asks for, needs a GPU."""
    folder.mkdir()
    (folder / "experiment.py").write_text(EXPERIMENT)
    (folder / "template.toml").write_text(SETTINGS)
    for name in ("large", "small", "tiny"):
        (folder / "models" / name).mkdir(parents=True)
        (folder / "models" / name / "config.json").write_text("{}")
    return folder
