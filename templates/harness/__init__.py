"""The locked half of the SAE template: language model, data, evaluation, results.

`experiment.py` imports it; the runner checks that no file of it changed. Importing this package only sets
environment variables that heavy libraries read at their own import, and imports none of them.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = tomllib.loads((ROOT / "template.toml").read_text(encoding="utf-8"))

# Threads of a parallel region sleep between regions instead of spinning: on cores that are shared with
# other processes, training with spinning threads was measured four times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# sae_bench decorates its functions with run-time type checks that beartype releases disagree about.
os.environ.setdefault("JAXTYPING_DISABLE", "1")
# Progress bars of libraries: thousands of lines in a log that an agent has to read.
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
# The tokenizer's own threads and forked workers do not go together.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# What the runner says of this very job counts: `prepare` may have network where runs have none.
_network = os.environ.get("AGENT_RUNNER_NETWORK") == "1"
if not _network and not SETTINGS.get("resources", {}).get("network", False):
    for _name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        os.environ.setdefault(_name, "1")
