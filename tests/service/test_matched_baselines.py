"""Fingerprints, the noise floor, and which baseline a run is compared with."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from models_template import write_template

from agent_runner.errors import BaselineRefused, ModelUnavailable, UsageError
from agent_runner.models import Machine
from agent_runner.records import Idea, Outcome, RunResult, Stage, Template
from agent_runner.service import Runner, fingerprints
from agent_runner.service.bookkeeping import Books, check
from agent_runner.service.workspace import Workspace

Edit = Callable[[str, str], str]

FASTER = ("        self.rate = 0.1", "        self.rate = 0.2")
OTHER_MODEL = ('    model_name = "org/large"', '    model_name = "org/tiny"')
UNKNOWN_MODEL = ('    model_name = "org/large"', '    model_name = "org/tinny"')


@pytest.fixture
def template(tmp_path: Path) -> Path:
    return write_template(tmp_path / "models")


@pytest.fixture
def idea(runner: Runner, template: Path) -> Idea:
    return runner.create_idea("Models", template=template)


def run_of(observation: object) -> RunResult:
    run = getattr(observation, "run", None)
    assert isinstance(run, RunResult), observation
    return run


# ---------------------------------------------------------------- the noise floor


def test_the_baseline_comes_with_how_far_it_scatters(runner: Runner, idea: Idea) -> None:
    observation = runner.baseline(idea.id)
    run = run_of(observation)
    assert run.noise is not None and run.noise.seeds == (0, 1, 2, 3)
    accuracy = run.noise.metrics["accuracy"]
    assert accuracy.values[0] == run.metrics["accuracy"]
    assert len(set(accuracy.values)) == 4 and 0 < accuracy.std < 0.05
    assert run.noise.metrics["reference"].std == 0
    assert "Noise: standard deviations over 4 runs" in observation.message
    assert runner.run(idea.id, 0) == run, "what is told is what is stored"
    assert runner._workspace.ledger.budget(idea.id).used == 0


def test_a_difference_is_told_in_units_of_noise(runner: Runner, idea: Idea, edit: Edit) -> None:
    observation = runner.propose(idea.id, edit(*FASTER))
    run = run_of(observation)
    assert run.comparison is not None
    pair = run.comparison.metrics["accuracy"]
    assert pair.noise is not None and pair.noise_units is not None
    assert pair.noise_units == pytest.approx(pair.difference / pair.noise)
    assert pair.within_noise is False
    assert f"({pair.noise_units:+.1f} x noise)" in observation.message

    slight = runner.propose(idea.id, edit("        self.rate = 0.2", "        self.rate = 0.1001"))
    compared = run_of(slight).comparison
    assert compared is not None and compared.metrics["accuracy"].within_noise is True
    assert "within noise" in slight.message


def test_equal_ideas_share_noise_and_all(runner: Runner, idea: Idea, template: Path) -> None:
    first = run_of(runner.baseline(idea.id))
    other = runner.create_idea("Equal", template=template)
    told: list[str] = []
    second = run_of(runner.baseline(other.id, progress=lambda what, _: told.append(what)))
    assert second.noise == first.noise and second.fingerprint == first.fingerprint
    assert "noise floor" not in told


def test_noise_that_cannot_be_measured_is_said_and_stops_nothing(
    runner: Runner, template: Path, edit: Edit
) -> None:
    script = template / "experiment.py"
    script.write_text(
        script.read_text().replace("SKILL =", 'if OFFSET == 2: raise ValueError("two")\nSKILL =')
    )
    idea = runner.create_idea("Half", template=template)
    run = run_of(runner.baseline(idea.id))
    assert run.noise is not None and run.noise.seeds == (0, 1)
    assert run.noise.problem is not None and "moved by 2" in run.noise.problem
    assert run_of(runner.propose(idea.id, edit(*FASTER))).outcome is Outcome.SUCCEEDED


# ---------------------------------------------------------------- another model, another baseline


def test_a_fallback_is_told_with_what_a_person_can_do(runner: Runner, idea: Idea) -> None:
    observation = runner.baseline(idea.id)
    model = run_of(observation).model
    assert model is not None
    assert (model.requested, model.granted) == ("org/large", "org/small")
    assert "GPU" in model.reason and "GPU" in model.remedy
    assert f"instead of org/large: {model.reason}" in observation.message


def test_a_run_with_another_model_is_compared_with_a_baseline_of_its_kind(
    runner: Runner, idea: Idea, edit: Edit
) -> None:
    runner.baseline(idea.id)
    observation = runner.propose(idea.id, edit(*OTHER_MODEL))
    run = run_of(observation)
    assert run.model is not None and run.model.granted == "org/tiny"
    assert run.comparison is not None, observation.message
    assert run.comparison.baseline == f"baseline {run.fingerprint}"
    assert run.comparison.metrics["accuracy"].difference == 0, "nothing but the model was changed"
    assert run.fingerprint not in (None, runner.run(idea.id, 0).fingerprint)
    assert [p.kind for p in observation.problems] == ["model_changed"]
    assert observation.budget.used == 1, "the second baseline cost nothing"
    assert [f.code for f in check(Books.of(runner._workspace.home.root)).findings] == []

    back = runner.propose(idea.id, edit(OTHER_MODEL[1], '    model_name = "org/large"  # again'))
    assert run_of(back).comparison is not None
    assert run_of(back).comparison.baseline == "run_0"  # type: ignore[union-attr]


def test_a_run_that_says_it_had_another_model_is_compared_with_nothing(
    runner: Runner, idea: Idea, edit: Edit
) -> None:
    """A kinder baseline could be had for the asking: that of a weaker model."""
    lie = '    used = {"requested": name, "granted": "org/tiny", "reason": ""}'
    truth = (
        '    used = {"requested": name, "granted": answer["granted"], "reason": answer["reason"]}'
    )
    run = run_of(runner.propose(idea.id, edit(truth, lie)))
    assert run.comparison is None
    [found] = [finding for finding in run.findings if finding.code == "model-claim"]
    assert found.severity == "fail" and "was granted org/small" in found.message


def test_a_model_that_nobody_has_is_replaced_and_said(
    runner: Runner, idea: Idea, edit: Edit
) -> None:
    observation = runner.propose(idea.id, edit(*UNKNOWN_MODEL))
    run = run_of(observation)
    assert run.model is not None
    assert (run.model.requested, run.model.granted) == ("org/tinny", "org/small")
    warning = next(p for p in observation.problems if p.kind == "model_replaced")
    assert "org/tinny" in warning.message and "org/small" in warning.message
    assert warning.path == "experiment.py" and warning.line
    assert run.comparison is not None and run.comparison.baseline == "run_0"
    assert warning.message in observation.message


def test_after_an_upgrade_the_template_is_measured_again(
    runner: Runner, idea: Idea, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_of(runner.baseline(idea.id))
    monkeypatch.setattr(fingerprints, "_packages", lambda interpreter: "another torch")
    run = run_of(runner.propose(idea.id, edit(*FASTER)))
    assert run.comparison is not None and run.comparison.baseline == f"baseline {run.fingerprint}"
    assert run.fingerprint != first.fingerprint
    assert runner.run(idea.id, 0) == first, "the idea's own stands as it was"


# ---------------------------------------------------------------- without fallback


def test_without_fallback_nothing_is_run_and_nothing_charged(
    runner: Runner, template: Path, edit: Edit
) -> None:
    idea = runner.create_idea("Strict", template=template, fallback=False)
    with pytest.raises(ModelUnavailable) as refused:
        runner.baseline(idea.id)
    assert "org/large" in refused.value.message and refused.value.remedy
    observation = runner.propose(idea.id, edit(*FASTER))
    assert (observation.accepted, observation.stage) == (False, Stage.VALIDATE)
    assert [p.kind for p in observation.problems] == ["model_unavailable"]
    assert "org/small: can be used" in observation.message
    assert observation.budget.used == 0


def test_a_computed_name_is_caught_by_the_smoke_run(
    runner: Runner, template: Path, edit: Edit
) -> None:
    settings = template / "template.toml"
    settings.write_text(settings.read_text().replace("needs_gpu = true\n", ""))
    idea = runner.create_idea("Strict", template=template, fallback=False)
    assert run_of(runner.baseline(idea.id)).model.granted == "org/large"  # type: ignore[union-attr]
    hidden = '    model_name = "/".join(["org", "huge"])'
    observation = runner.propose(idea.id, edit(OTHER_MODEL[0], hidden))
    assert not observation.accepted and observation.budget.used == 0
    assert [p.kind for p in observation.problems] == ["model_unavailable"]
    assert "org/huge" in observation.message and "not among the models" in observation.message


def test_the_models_of_an_idea_can_be_narrowed(runner: Runner, template: Path) -> None:
    idea = runner.create_idea("Tiny", template=template, models=("org/tiny",))
    model = run_of(runner.baseline(idea.id)).model
    assert model is not None and model.granted == "org/tiny"
    with pytest.raises(UsageError, match="org/other"):
        runner.create_idea("None", template=template, models=("org/other",))


def test_without_fallback_an_edit_may_ask_for_what_can_be_used(
    runner: Runner, template: Path, edit: Edit
) -> None:
    idea = runner.create_idea("Strict", template=template, fallback=False)
    run = run_of(runner.propose(idea.id, edit(*OTHER_MODEL)))
    assert run.model is not None and run.model.granted == "org/tiny"
    assert run.comparison is not None and run.comparison.baseline == "run_0"
    assert run.comparison.metrics["accuracy"].difference == 0


def test_what_only_looks_like_a_model_is_no_reason_to_refuse(
    runner: Runner, template: Path, edit: Edit
) -> None:
    settings = template / "template.toml"
    settings.write_text(settings.read_text().replace("needs_gpu = true\n", ""))
    idea = runner.create_idea("Strict", template=template, fallback=False)
    path = '        self.rate = 0.2\n        self.model_name = "checkpoints/best"'
    assert run_of(runner.propose(idea.id, edit(FASTER[0], path))).outcome is Outcome.SUCCEEDED


# ---------------------------------------------------------------- what changes meanwhile


def test_a_model_that_was_made_usable_is_worth_another_run(
    runner: Runner, idea: Idea, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_of(runner.propose(idea.id, edit(*FASTER)))
    assert first.model is not None and first.model.granted == "org/small"
    back = runner.propose(idea.id, edit(FASTER[1], FASTER[0]))
    assert [p.kind for p in back.problems] == ["already_run"]
    machine = Workspace.machine

    def with_gpu(self: Workspace, template: Template) -> Machine:
        return dataclasses.replace(machine(self, template), gpu_free_bytes=2**40)

    monkeypatch.setattr(Workspace, "machine", with_gpu)
    again = run_of(runner.propose(idea.id, edit(*FASTER)))
    assert again.index == 2 and again.model is not None and again.model.granted == "org/large"
    runner.propose(idea.id, edit(FASTER[1], FASTER[0]))
    third = runner.propose(idea.id, edit(*FASTER))
    assert [p.kind for p in third.problems] == ["already_run"] and third.budget.used == 2
    monkeypatch.setattr(Workspace, "machine", machine)
    runner.propose(idea.id, edit(FASTER[1], FASTER[0]))
    worse = runner.propose(idea.id, edit(*FASTER))
    assert [p.kind for p in worse.problems] == ["already_run"], "no run for a lesser model"


def test_a_baseline_that_fails_for_another_model_is_not_run_again_and_again(
    runner: Runner, template: Path, edit: Edit
) -> None:
    script = template / "experiment.py"
    script.write_text(
        script.read_text().replace(
            "    skill = SKILL[grant(model_name)]",
            "    granted = grant(model_name)\n    assert granted != 'org/tiny' or 'SMOKE' in os.environ\n"
            "    skill = SKILL[granted]",
        )
    )
    settings = template / "template.toml"
    settings.write_text(
        settings.read_text().replace('{out_dir}"\n', '{out_dir}"\nenv = { SMOKE = "1" }\n', 1)
    )
    idea = runner.create_idea("Half", template=template)
    for number, rate in enumerate(("0.3", "0.4"), start=1):
        told: list[str] = []
        blocks = edit("        self.rate = 0.1", f"        self.rate = {rate}")
        if number == 1:
            blocks += edit(*OTHER_MODEL)
        else:
            blocks = edit("        self.rate = 0.3", f"        self.rate = {rate}")
        observation = runner.propose(
            idea.id, blocks, progress=lambda what, detail, told=told: told.append(detail)
        )
        assert "no_baseline" in {p.kind for p in observation.problems}, observation.message
        ran = sum("out_dir=run_0" in detail for detail in told)
        assert ran == (2 if number == 1 else 0), "run_0, and the one for org/tiny, once each"


def test_noise_that_was_broken_off_is_completed(runner: Runner, idea: Idea, edit: Edit) -> None:
    def interrupt(what: str, detail: str) -> None:
        if what == "noise floor" and "by 2" in detail:
            runner.cancel(idea.id)

    broken = runner.baseline(idea.id, progress=interrupt)
    assert run_of(broken).noise is None, "cancelled in the middle"
    told: list[str] = []
    run = run_of(
        runner.propose(idea.id, edit(*FASTER), progress=lambda what, detail: told.append(detail))
    )
    assert run.comparison is not None
    assert run.comparison.metrics["accuracy"].noise is not None
    noise = runner.run(idea.id, 0).noise
    assert noise is not None and noise.seeds == (0, 1, 2, 3)
    assert "python experiment.py --out_dir=noise_1" not in told, "what was measured is not repeated"


def test_a_baseline_over_which_packages_were_changed_is_worth_nothing(
    runner: Runner, idea: Idea, monkeypatch: pytest.MonkeyPatch, edit: Edit
) -> None:
    state = ["before"]
    monkeypatch.setattr(fingerprints, "_packages", lambda interpreter: state[0])

    def upgrade(what: str, detail: str) -> None:
        if what == "baseline":
            state[0] = "after"

    refused = runner.propose(idea.id, edit(*FASTER), progress=upgrade)
    assert [p.kind for p in refused.problems] == ["baseline_degenerate"]
    assert "environment-changed" in refused.message and refused.budget.used == 0


def test_several_models_in_one_run_are_compared_with_nothing(
    runner: Runner, idea: Idea, edit: Edit
) -> None:
    call = "    skill = SKILL[grant(model_name)]"
    run = run_of(runner.propose(idea.id, edit(call, call + '\n    grant("org/tiny")')))
    assert run.comparison is None
    assert "several-models" in {finding.code for finding in run.findings}


def test_a_template_without_a_smoke_run_is_read(runner: Runner, template: Path, edit: Edit) -> None:
    settings = template / "template.toml"
    text = settings.read_text()
    settings.write_text(text[: text.index("[smoke]")] + text[text.index("[noise]") :])
    idea = runner.create_idea("No smoke", template=template)
    run = run_of(runner.propose(idea.id, edit(*OTHER_MODEL)))
    assert run.comparison is not None and run.comparison.baseline == f"baseline {run.fingerprint}"


# ---------------------------------------------------------------- imported

GOOD = {"metrics": {"accuracy": 0.7, "reference": 0.6}}


def test_an_imported_baseline_is_compared_with(runner: Runner, template: Path, edit: Edit) -> None:
    idea = runner.create_idea("Imported", template=template, baseline=GOOD)
    told: list[str] = []
    observation = runner.baseline(idea.id, progress=lambda what, _: told.append(what))
    assert run_of(observation).metrics["accuracy"] == 0.7 and told == []
    assert "imported" in {finding.code for finding in run_of(observation).findings}
    run = run_of(runner.propose(idea.id, edit(*FASTER)))
    assert run.comparison is not None and run.comparison.metrics["accuracy"].baseline == 0.7
    assert run.comparison.metrics["accuracy"].noise_units is None
    assert [f.code for f in check(Books.of(runner._workspace.home.root)).findings] == []


@pytest.mark.parametrize("bad", [{}, {"metrics": {"a": float("nan")}}, {"note": "nothing"}])
def test_a_baseline_without_numbers_is_refused(
    bad: dict[str, object], runner: Runner, template: Path
) -> None:
    with pytest.raises(BaselineRefused):
        runner.create_idea("Imported", template=template, baseline=bad)
    assert runner.ideas() == [] and not list(runner._workspace.home.ideas.glob("*"))


def test_the_recordings_baseline_is_refused_with_its_reasons(
    runner: Runner, template: Path
) -> None:
    recorded = json.loads(
        (Path(__file__).parents[1] / "fixtures" / "recorded_baseline.json").read_text()
    )
    with pytest.raises(BaselineRefused) as refused:
        runner.create_idea("Recorded", template=template, baseline=recorded)
    for code in ("no-training", "no-loss", "exact-chance", "no-variance", "flat-in-k", "mismatch"):
        assert code in refused.value.message


# ---------------------------------------------------------------- killed in between

KILLED = """
import os, signal, sys
from agent_runner.service import Runner, proposals, shared_baselines

calls = 0
owner, name = {
    "noise": (shared_baselines.SharedBaseline, "_repeat"),
    "match": (proposals, "matched_baseline"),
}[sys.argv[3]]
original = getattr(owner, name)

def wrapped(*args, **kwargs):
    global calls
    calls += 1
    if sys.argv[3] == "match" or calls == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)

setattr(owner, name, wrapped)
Runner(sys.argv[1]).propose(sys.argv[2], sys.stdin.read())
"""


@pytest.mark.parametrize("point", ["noise", "match"])
def test_a_killed_server_leaves_nothing_half_measured(
    point: str, runner: Runner, idea: Idea, edit: Edit, home: Path
) -> None:
    reply = edit(*OTHER_MODEL)
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(home), idea.id, point],
        input=reply,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    told: list[tuple[str, str]] = []
    observation = runner.propose(idea.id, reply, progress=lambda *line: told.append(line))
    run = runner.run(idea.id, 1) if point == "match" else run_of(observation)
    assert run.comparison is not None and run.comparison.baseline == f"baseline {run.fingerprint}"
    assert all(pair.noise is not None for pair in run.comparison.metrics.values())
    baseline = runner.run(idea.id, 0)
    assert baseline.noise is not None and baseline.noise.seeds == (0, 1, 2, 3)
    assert runner._workspace.ledger.budget(idea.id).used == 1
    assert [f.code for f in check(Books.of(home)).findings] == []
