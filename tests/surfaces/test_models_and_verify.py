"""`models`, `verify`, and what `idea new` and `import-chat` ask of models and baselines, as commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from models_template import write_template

REPLY = """experiment.py
```python
<<<<<<< SEARCH
        self.rate = 0.1
=======
        self.rate = 0.2
>>>>>>> REPLACE
```
"""
WRITTEN = """experiment.py
```python
<<<<<<< SEARCH
    metrics = {"accuracy": skill + Trainer().rate + noise, "reference": skill}
=======
    metrics = {"accuracy": 0.97, "reference": 0.6}
>>>>>>> REPLACE
```
"""


@pytest.fixture
def template(tmp_path: Path) -> Path:
    return write_template(tmp_path / "models")


def test_models_says_what_can_be_used_and_what_to_do(cli: Callable, template: Path) -> None:
    ended = cli("models", "--template", str(template), "--json")
    assert ended.code == 0, ended.stderr
    found = {access["name"]: access for access in ended.json["access"]}
    assert found["org/large"]["status"] == "needs_gpu" and found["org/large"]["remedy"]
    assert found["org/small"]["status"] == found["org/tiny"]["status"] == "ready"
    words = cli("models", "--template", str(template)).stdout
    assert "needs_gpu" in words and "org/large" in words


def test_models_of_the_default_template_offline(cli: Callable) -> None:
    found = {access["name"]: access for access in cli("models", "--json").json["access"]}
    assert found["embedded"]["status"] == "ready"
    assert found["EleutherAI/pythia-70m-deduped"]["status"] == "not_cached"
    assert "hf download" in found["EleutherAI/pythia-70m-deduped"]["remedy"]


def test_verify_has_an_exit_code_for_each_verdict(
    cli: Callable, template: Path, home: Path
) -> None:
    idea = cli("idea", "new", "--title", "V", "--template", str(template), "--json").json["idea"]
    assert cli("propose", idea, stdin=REPLY).code == 0
    assert cli("propose", idea, stdin=WRITTEN).code == 0
    moves = cli("verify", f"{idea}/run_1", "--json")
    assert (moves.code, moves.json["verdict"], moves.json["run"]) == (0, "moves", 1), moves.stderr
    written = cli("verify", idea, "2")
    assert written.code == 4 and "do not come from what it computes" in written.stdout
    assert cli("show", idea, "--json").json["budget"]["used"] == 2, "verifying costs nothing"
    records = next(home.glob("ideas/*/runs/1"))
    elsewhere = cli("verify", str(records), "--json", env={"AGENT_RUNNER_HOME": "/nonexistent"})
    assert (elsewhere.code, elsewhere.json["number"]) == (0, 3), "by its folder of records, too"


@pytest.mark.parametrize("arguments", [(), ("1", "--seed-offset", "0"), ("7",), ("x",)])
def test_verify_refuses_what_it_cannot_do(
    arguments: tuple[str, ...], cli: Callable, template: Path
) -> None:
    idea = cli("idea", "new", "--title", "V", "--template", str(template), "--json").json["idea"]
    assert cli("verify", idea, *arguments).code == 2


def test_no_fallback_refuses_with_what_is_there(cli: Callable, template: Path) -> None:
    new = ("idea", "new", "--template", str(template), "--json", "--title")
    strict = cli(*new, "Strict", "--no-fallback").json["idea"]
    refused = cli("baseline", strict)
    assert refused.code == 1 and "org/small: can be used" in refused.stderr
    proposal = cli("propose", strict, "--json", stdin=REPLY)
    assert proposal.code == 4 and proposal.json["problems"][0]["kind"] == "model_unavailable"
    narrow = cli(*new, "Narrow", "--model", "org/tiny", "--no-fallback").json["idea"]
    assert cli("baseline", narrow, "--json").json["run"]["model"]["granted"] == "org/tiny"
    assert cli(*new, "None", "--model", "org/other").code == 2


def test_a_baseline_of_ones_own_is_checked_first(
    cli: Callable, template: Path, tmp_path: Path
) -> None:
    new = ("idea", "new", "--template", str(template), "--json", "--title", "B", "--baseline")
    file = tmp_path / "final_info.json"
    file.write_text('{"metrics": {"accuracy": 0.7}}')
    idea = cli(*new, str(file)).json["idea"]
    assert cli("baseline", idea, "--json").json["run"]["metrics"] == {"accuracy": 0.7}
    file.write_text('{"metrics": {"accuracy": NaN}}')
    assert cli(*new, str(file)).code == 2
    assert cli(*new, str(tmp_path / "absent.json")).code == 2
    assert len(cli("list", "--json").json["ideas"]) == 1


def test_the_recorded_baseline_is_refused_before_anything_is_run(
    cli: Callable, template: Path, seeds: Path
) -> None:
    log = next(seeds.glob("000*.txt"))
    ended = cli(
        *("import-chat", str(log), "--replay", "--recorded-baseline"),
        *("--template", str(template), "--json"),
    )
    assert ended.code == 2
    error = json.loads(ended.stderr)["error"]
    assert error["code"] == "baseline_refused"
    for code in ("no-training", "no-loss", "exact-chance", "no-variance", "flat-in-k", "mismatch"):
        assert code in error["message"]
    assert cli("list", "--json").json["ideas"] == []
