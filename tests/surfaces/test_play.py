"""`agent-runner play` on a toy template, whose one number is the metric."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent_runner.records import (
    Budget,
    Comparison,
    MetricDifference,
    MetricNoise,
    Noise,
    Observation,
    Outcome,
    RunResult,
    Stage,
)
from agent_runner.service import Runner
from agent_runner.surfaces.cli import play
from agent_runner.variants import Variant

TITLE = "A toy variant"


def reply(old: float, new: float) -> str:
    block = f"<<<<<<< SEARCH\nRATE = {old}\n=======\nRATE = {new}\n>>>>>>> REPLACE"
    return f"Another rate.\n\nexperiment.py\n```python\n{block}\n```\n"


def write_variant(folder: Path, replies: Sequence[str], models: str = "") -> Path:
    (folder / "proposals").mkdir(parents=True)
    lines = [f'title = "{TITLE}"', 'hypothesis = "h"', 'method = "m"', models]
    lines.append(f"plan = {json.dumps([f'rate {n}' for n in range(1, len(replies) + 1)])}")
    (folder / "idea.toml").write_text("\n".join(lines), encoding="utf-8")
    for number, text in enumerate(replies, start=1):
        (folder / "proposals" / f"{number}.md").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write_variant(tmp_path / "good", [reply(0.1, 0.2), reply(0.2, 0.3), reply(0.3, 0.4)])


@pytest.fixture
def run_play(cli: Callable[..., Any], toy: Path) -> Callable[..., Any]:
    """`agent-runner play` on the toy template."""

    def start(*arguments: str | Path) -> Any:
        return cli("play", *map(str, arguments), "--template", str(toy))

    return start


def test_every_proposal_is_run_and_shown(
    run_play: Callable[..., Any], good: Path, home: Path
) -> None:
    ended = run_play(good, "--json")
    assert ended.code == 0, ended.stderr
    said: dict[str, Any] = ended.json
    assert set(said) == {"schema_version", "idea", "variant", "baseline", "observations", "table"}
    assert said["variant"] == "good"
    assert said["baseline"]["run"]["metrics"] == {"loss": 0.9}
    assert [seen["run"]["metrics"]["loss"] for seen in said["observations"]] == [0.8, 0.7, 0.6]
    assert all("messages" not in seen for seen in said["observations"])
    first, *others = said["table"]
    assert (first["run"], first["outcome"], first["proposal"]) == ("baseline", "succeeded", None)
    assert [row["run"] for row in others] == ["run_1", "run_2", "run_3"]
    assert [row["purpose"] for row in others] == ["rate 1", "rate 2", "rate 3"]
    assert others[1]["metrics"]["loss"]["value"] == 0.7
    assert others[1]["metrics"]["loss"]["difference"] == pytest.approx(-0.2)
    assert {"noise_units", "within_noise"} <= set(others[1]["metrics"]["loss"])
    runner = Runner(home)
    idea = runner.idea(said["idea"])
    assert (idea.title, idea.max_runs) == (TITLE, 10)
    assert "3. rate 3" in idea.plan and "Hypothesis. h" in idea.plan


def test_what_was_interrupted_goes_on_and_runs_nothing_twice(
    run_play: Callable[..., Any], good: Path, home: Path
) -> None:
    begun = run_play(good, "--max", "2", "--json")
    assert begun.code == 0, begun.stderr
    before = begun.json
    assert len(before["observations"]) == 2
    after = run_play(good, "--resume", before["idea"], "--json")
    assert after.code == 0, after.stderr
    said = after.json
    assert said["idea"] == before["idea"]
    assert said["observations"][:2] == before["observations"]
    view = Runner(home).show(before["idea"])
    assert [run.index for run in view.runs] == [0, 1, 2, 3]
    assert view.budget.used == 3
    again = run_play(good, "--resume", before["idea"], "--json")
    assert again.json["table"] == said["table"]
    assert Runner(home).show(before["idea"]).budget.used == 3


def test_a_killed_play_goes_on_where_it_was(
    run_play: Callable[..., Any], good: Path, home: Path, toy: Path
) -> None:
    command = [sys.executable, "-m", "agent_runner", "--home", str(home), "play", str(good)]
    with subprocess.Popen(
        [*command, "--template", str(toy)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as killed:
        assert killed.stdout is not None
        assert any(line.startswith(b"proposal 1: succeeded") for line in killed.stdout)
        killed.kill()  # while the second proposal is at whatever stage
    (view,) = Runner(home).ideas()
    ended = run_play(good, "--resume", view.idea.id, "--json")
    assert ended.code == 0, ended.stderr
    assert [row["run"] for row in ended.json["table"]] == ["baseline", "run_1", "run_2", "run_3"]
    assert Runner(home).show(view.idea.id).budget.used == 3


def test_an_unfinished_play_is_pointed_out(run_play: Callable[..., Any], good: Path) -> None:
    idea = run_play(good, "--max", "1", "--json").json["idea"]
    ended = run_play(good, "--max", "1")
    assert ended.code == 0
    assert f"Unfinished: {idea}." in ended.stderr


def test_a_refused_proposal_keeps_nobody_back(run_play: Callable[..., Any], tmp_path: Path) -> None:
    replies = [reply(0.1, 0.2), reply(7, 8), reply(0.2, 0.1), reply(0.1, 0.3)]
    ended = run_play(write_variant(tmp_path / "mixed", replies), "--json")
    assert ended.code == 3
    table = ended.json["table"]
    assert [row["run"] for row in table] == ["baseline", "run_1", None, None, "run_2"]
    # misquoted; and code that is the baseline's again
    assert [row["outcome"] for row in table[2:4]] == ["refused (apply)", "refused (validate)"]
    assert table[2]["metrics"] == {"loss": None} and table[2]["seconds"] is None


def test_a_failed_run_ends_with_3_and_says_why(
    run_play: Callable[..., Any], tmp_path: Path
) -> None:
    bad = reply(0.1, 0.2).replace("RATE = 0.2", "RATE = 1 / int('0')")
    ended = run_play(write_variant(tmp_path / "bad", [bad]))
    assert ended.code == 3
    assert "proposal 1: failed" in ended.stdout
    assert "division by zero" in ended.stdout


def test_people_get_a_line_per_proposal_and_a_table(
    run_play: Callable[..., Any], good: Path
) -> None:
    ended = run_play(good, "--max", "1")
    assert ended.code == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0].startswith("baseline: succeeded after ")
    assert lines[1].startswith("proposal 1: succeeded after ") and lines[1].endswith("(rate 1)")
    header = next(line for line in lines if line.startswith("run "))
    assert header.split() == ["run", "outcome", "seconds", "loss", "what", "it", "is"]
    assert any(line.startswith("run_1") and "0.8 (-0.1" in line for line in lines)


def test_misuse_starts_nothing(
    run_play: Callable[..., Any], good: Path, home: Path, tmp_path: Path
) -> None:
    nowhere = run_play(tmp_path / "nowhere")
    assert nowhere.code == 2
    assert "Give a folder, or one of:" in nowhere.stderr
    assert run_play(good, "--resume", "nobody").code == 2
    other = Runner(home).create_idea("Another idea", template=tmp_path / "toy")
    ended = run_play(good, "--resume", other.id)
    assert ended.code == 2
    assert "is not of this variant" in ended.stderr
    unknown = write_variant(tmp_path / "unknown", [reply(0.1, 0.2)], 'models = ["nobody/model"]')
    assert run_play(unknown).code == 2
    assert [view.idea.title for view in Runner(home).ideas()] == ["Another idea"]


# ---------------------------------------------------------------- the table, from records


def observed(index: int, metrics: dict[str, float], **fields: Any) -> Observation:
    run = RunResult(
        index=index,
        outcome=Outcome.SUCCEEDED,
        seconds=12.34,
        commit="c",
        tree="t",
        metrics=metrics,
        **fields,
    )
    budget = Budget(max_runs=10, used=1, left=9, attempts_left=9, charged=True, reason="it ran")
    return Observation(
        idea="i", attempt=index, accepted=True, stage=Stage.DONE, run=run, budget=budget, message=""
    )


def test_differences_are_shown_in_units_of_noise() -> None:
    names = list(play.COLUMNS.values())
    spread = MetricNoise(values=(0.70, 0.72), mean=0.71, std=0.014142)
    noise = Noise(seeds=(0, 1), metrics={names[0]: spread})
    baseline = observed(0, dict.fromkeys(names, 0.71) | {"other": 1.0}, noise=noise)
    inside = MetricDifference(
        baseline=0.71, value=0.72, difference=0.01, noise=0.02, noise_units=0.5, within_noise=True
    )
    outside = MetricDifference(
        baseline=0.71, value=0.81, difference=0.1, noise=0.02, noise_units=5.0, within_noise=False
    )
    unknown = MetricDifference(baseline=0.71, value=0.7, difference=-0.01)
    compared = {names[0]: inside, names[1]: outside, names[2]: unknown}
    values = {name: pair.value for name, pair in compared.items()}
    run = observed(1, values, comparison=Comparison(baseline="run_0", metrics=compared))
    rows = play.table_of(
        Variant(name="v", title="T", plan=("first",)), baseline, [run, observed(2, values)]
    )
    assert list(rows[0]["metrics"]) == list(play.COLUMNS)
    assert rows[0]["metrics"]["sae_top_1"] == {"value": 0.71, "std": 0.014142}
    assert rows[0]["metrics"]["l0"] == {"value": 0.71, "std": None}
    assert rows[1]["metrics"]["sae_top_1"] == {
        "value": 0.72,
        "difference": 0.01,
        "noise_units": 0.5,
        "within_noise": True,
    }
    assert rows[1]["metrics"]["final_loss"] is None
    text = play.table_text(rows)
    for cell in ("0.71 sd 0.014", "0.72 (+0.5 ~)", "0.81 (+5.0)", "0.7 (-0.01 as such)"):
        assert cell in text
    assert "run_2" in text and "first" in text
    assert "compared with" not in text.splitlines()[0], "there is one baseline only"
    assert "final_loss compares only runs of the same objective" in text


def test_a_run_of_another_kind_stands_below_its_own_baseline() -> None:
    spread = MetricNoise(values=(0.90, 0.92), mean=0.91, std=0.014142)
    baseline = observed(
        0, {"acc": 0.9, "ref": 0.5}, noise=Noise(seeds=(0, 1), metrics={"acc": spread})
    )

    def compared(index: int, other: str, before: float, after: float) -> Observation:
        pair = MetricDifference(
            baseline=before,
            value=after,
            difference=after - before,
            noise=0.02,
            noise_units=(after - before) / 0.02,
            within_noise=False,
        )
        comparison = Comparison(baseline=other, metrics={"acc": pair})
        return observed(index, {"acc": after}, comparison=comparison)

    runs = [
        compared(1, "run_0", 0.9, 0.95),
        compared(2, "baseline ab12", 0.3, 0.5),
        compared(3, "run_0", 0.9, 0.8),
        compared(4, "baseline ab12", 0.3, 0.6),
        observed(5, {"acc": 0.7}),
    ]
    rows = play.table_of(Variant(name="v", title="T"), baseline, runs)
    assert [(row["run"], row["compared_with"]) for row in rows] == [
        ("baseline", None),
        ("run_1", "run_0"),
        ("baseline ab12", None),
        ("run_2", "baseline ab12"),
        ("run_3", "run_0"),
        ("run_4", "baseline ab12"),
        ("run_5", None),
    ]
    other = rows[2]["metrics"]
    assert other["acc"] == {"value": 0.3, "std": pytest.approx(0.02 / 2**0.5)}
    assert other["ref"] is None, "no run that was compared with it has this metric"
    lines = play.table_text(rows).splitlines()
    at = lines[0].index("compared with")
    said = [line[at : at + len("baseline ab12")].strip() for line in lines[1:8]]
    assert said == ["", "baseline", "", "baseline ab12", "baseline", "baseline ab12", ""]
    assert lines[3].startswith("baseline ab12") and "0.3 sd 0.014" in lines[3]
    assert "0.5 (+10.0)" in lines[4]
    assert "the baseline that it was compared with" in lines[-1]
    assert "final_loss" not in lines[-1], "no column of this name"


def test_no_scatter_is_shown_where_noise_is_not_known() -> None:
    flat = MetricNoise(values=(0.9, 0.9), mean=0.9, std=0.0)
    noise = Noise(seeds=(0, 1), metrics={"acc": flat}, problem="no metric moved")
    rows = play.table_of(
        Variant(name="v", title="T"), observed(0, {"acc": 0.9}, noise=noise), [observed(1, {})]
    )
    assert rows[0]["metrics"]["acc"] == {"value": 0.9, "std": None}
