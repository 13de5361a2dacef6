from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_runner.errors import IdempotencyConflict, UnknownIdea, UnknownRun, UsageError
from agent_runner.records import Idea, Observation, Outcome, Stage
from agent_runner.service import Runner

Edit = Callable[[str, str], str]
RATE = "        self.rate = 0.1"


def kinds(observation: Observation) -> list[str]:
    return [problem.kind for problem in observation.problems]


def assert_alternates(observation: Observation) -> None:
    roles = [message["role"] for message in observation.messages]
    assert roles[-1] == "user"
    assert all(a != b for a, b in itertools.pairwise(roles)), roles


def test_a_good_edit_runs_and_is_compared_with_the_baseline(
    runner: Runner, idea: Idea, edit: Edit
) -> None:
    observation = runner.propose(idea.id, edit(RATE, "        self.rate = 0.25"))
    assert (observation.accepted, observation.stage) == (True, Stage.DONE)
    run = observation.run
    assert run is not None
    assert (run.index, run.outcome, run.metrics) == (1, Outcome.SUCCEEDED, {"loss": 0.75})
    assert run.comparison is not None
    assert run.comparison.metrics["loss"].difference == pytest.approx(-0.15)
    assert observation.budget.model_dump() == {
        "max_runs": 3,
        "used": 1,
        "left": 2,
        "attempts_left": 9,
        "charged": True,
        "reason": "run_1 ran to its end",
    }
    assert "run_1 succeeded" in observation.message
    assert "2 of 3 runs are left" in observation.message
    assert "+    " not in Path(observation.links["diff"] or "").read_text().splitlines()[0]
    assert "self.rate = 0.25" in Path(observation.links["diff"] or "").read_text()
    assert_alternates(observation)


def test_a_refused_edit_changes_and_costs_nothing(runner: Runner, idea: Idea, edit: Edit) -> None:
    observation = runner.propose(
        idea.id, edit("        self.rate = 0.2", "        self.rate = 0.3")
    )
    assert (observation.accepted, observation.stage) == (False, Stage.APPLY)
    assert kinds(observation) == ["no_match"]
    assert observation.problems[0].block == 1
    assert observation.budget.charged is False
    assert observation.budget.used == 0
    assert "self.rate = 0.1" in observation.message, "the nearest place is shown"
    assert_alternates(observation)
    assert runner.show(idea.id).runs == ()


def test_a_reply_without_edits_is_answered(runner: Runner, idea: Idea) -> None:
    for reply in ("I think we are done.", "", "   \n"):
        observation = runner.propose(idea.id, reply)
        assert kinds(observation) == ["no_edits"]
        assert_alternates(observation)


def test_a_failing_run_is_charged_diagnosed_and_kept(
    runner: Runner, idea: Idea, edit: Edit, home: Path
) -> None:
    observation = runner.propose(idea.id, edit(RATE, "        self.rat = 0.2"))
    assert (observation.accepted, observation.stage) == (True, Stage.EXECUTE)
    run = observation.run
    assert run is not None and run.failure is not None and run.failure.location is not None
    assert run.outcome is Outcome.FAILED
    assert run.failure.kind == "attribute_error"
    assert run.failure.location.file == "experiment.py"
    assert "self.model.rate" in (run.failure.location.code or "")
    assert observation.budget.charged is True
    assert run.failure.charged is True
    assert "Traceback" in Path(observation.links["logs"] or "", "stderr.log").read_text()
    # the edit stays: the next one mends it where it is
    mended = runner.propose(idea.id, edit("        self.rat = 0.2", "        self.rate = 0.2"))
    assert mended.run is not None and mended.run.outcome is Outcome.SUCCEEDED
    assert mended.run.index == 2


def test_the_same_code_is_never_run_twice(runner: Runner, idea: Idea, edit: Edit) -> None:
    there = edit(RATE, "        self.rate = 0.5")
    back = edit("        self.rate = 0.5", RATE)
    first = runner.propose(idea.id, there)
    baseline = runner.propose(idea.id, back)
    assert (baseline.accepted, kinds(baseline)) == (False, ["already_run"])
    assert baseline.run is not None and baseline.run.index == 0
    again = runner.propose(idea.id, there)
    assert kinds(again) == ["already_run"]
    assert again.run == first.run
    assert again.budget.used == 1
    assert again.budget.charged is False
    assert "already" in again.message or "exactly that of run_1" in again.message


def test_an_unchanged_file_is_not_run(runner: Runner, idea: Idea, edit: Edit) -> None:
    observation = runner.propose(idea.id, edit(RATE, RATE))
    assert observation.accepted is False
    assert kinds(observation) == ["noop"]
    assert observation.budget.used == 0


def test_the_budget_ends_and_says_so(runner: Runner, idea: Idea, edit: Edit) -> None:
    last = RATE
    for number in range(1, 4):
        line = f"        self.rate = 0.{number + 1}"
        observation = runner.propose(idea.id, edit(last, line))
        assert observation.run is not None and observation.run.index == number
        last = line
    observation = runner.propose(idea.id, edit(last, RATE + "  # more"))
    assert (observation.accepted, observation.stage) == (False, Stage.ADMIT)
    assert kinds(observation) == ["budget_exhausted"]
    assert observation.budget.left == 0
    assert_alternates(observation)


def test_proposals_that_cost_nothing_are_bounded(runner: Runner, template: Path) -> None:
    idea = runner.create_idea("Talker", template=template, max_runs=1)
    for _ in range(3):
        runner.propose(idea.id, "no edits here")
    observation = runner.propose(idea.id, "still none")
    assert kinds(observation) == ["attempts_exhausted"]


def test_an_idempotency_key_never_starts_a_second_run(
    runner: Runner, idea: Idea, edit: Edit
) -> None:
    reply = edit(RATE, "        self.rate = 0.4")
    first = runner.propose(idea.id, reply, idempotency_key="k")
    assert runner.propose(idea.id, reply, idempotency_key="k") == first
    assert runner.show(idea.id).budget.used == 1
    with pytest.raises(IdempotencyConflict):
        runner.propose(idea.id, edit("x", "y"), idempotency_key="k")


def test_syntax_errors_and_broken_contracts_are_found_before_a_run(
    runner: Runner, idea: Idea, edit: Edit
) -> None:
    broken = runner.propose(idea.id, edit(RATE, "        self.rate = ("))
    assert broken.accepted is False
    assert broken.budget.charged is False
    line = '    parser.add_argument("--out_dir", type=str, default="run_0")'
    extra = line + '\n    parser.add_argument("--gamma", required=True)'
    contract = runner.propose(idea.id, edit(line, extra))
    assert (contract.stage, kinds(contract)) == (Stage.VALIDATE, ["contract"])
    assert contract.problems[0].line is not None
    same = runner.propose(idea.id, edit(extra, line) + edit(line, extra))
    assert same.accepted is False


def test_files_that_are_locked_cannot_be_edited_or_smuggled(
    runner: Runner, template: Path, edit: Edit, home: Path
) -> None:
    idea = runner.create_idea("Smuggling", template=template, sandbox="L0")
    reply = edit("VALUES = [1, 2, 3]", "VALUES = []").replace("experiment.py", "data.py")
    assert kinds(runner.propose(idea.id, reply)) == ["path_forbidden"]
    # a run that rewrites a locked file is undone before the next run
    line = '    print("loss", loss)'
    planted = '    open("data.py", "w").write("VALUES = [0]")\n' + line
    forged = runner.propose(idea.id, edit(line, planted))
    assert forged.run is not None and forged.run.failure is not None
    assert forged.run.failure.kind == "locked_files_changed" and forged.budget.charged is True
    assert "data.py" in forged.message
    data = home / "worktrees" / idea.id / "data.py"
    assert data.read_text() == "VALUES = [0]"
    (data.parent / "json.py").write_text("raise SystemExit('planted')\n")
    observation = runner.propose(
        idea.id, edit(planted, line) + edit(RATE, "        self.rate = 0.7")
    )
    assert "files_restored" in kinds(observation)
    assert observation.run is not None and observation.run.outcome is Outcome.SUCCEEDED
    kept = Path(observation.links["records"] or "") / "strays" / "json.py"
    assert "planted" in kept.read_text()


def test_a_timeout_ends_the_run_and_says_so(runner: Runner, template: Path, edit: Edit) -> None:
    idea = runner.create_idea("Slow", template=template, limits={"time_s": 1.0})
    line = '    print("loss", loss)'
    hang = "    import signal\n    signal.pause()"
    observation = runner.propose(idea.id, edit(line, f"{line}\n{hang}"))
    assert observation.run is not None and observation.run.failure is not None
    assert observation.run.outcome is Outcome.TIMED_OUT
    assert observation.run.failure.kind == "timeout"
    assert observation.budget.charged is True


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("    raise SystemExit(0)", "results_missing"),
        (
            '    open(os.path.join(args.out_dir, "final_info.json"), "w").write("{\\"a\\": NaN}")\n'
            "    raise SystemExit(0)",
            "results_invalid",
        ),
    ],
)
def test_exit_code_0_without_results_is_a_failure(
    runner: Runner, idea: Idea, edit: Edit, code: str, kind: str
) -> None:
    line = "    loss = Trainer(Model()).loss()"
    observation = runner.propose(idea.id, edit(line, f"{line}\n{code}"))
    assert observation.run is not None and observation.run.failure is not None
    assert observation.run.failure.kind == kind
    assert observation.run.outcome is Outcome.FAILED


def test_a_failing_baseline_is_said_and_does_not_end_the_idea(
    runner: Runner, template: Path, edit: Edit
) -> None:
    script = template / "experiment.py"
    script.write_text(script.read_text().replace("self.rate = 0.1", "self.rat = 0.1"))
    idea = runner.create_idea("Broken template", template=template)
    baseline = runner.baseline(idea.id)
    assert baseline.run is not None and baseline.run.outcome is Outcome.FAILED
    mended = runner.propose(idea.id, edit("        self.rat = 0.1", RATE))
    assert mended.run is not None and mended.run.outcome is Outcome.SUCCEEDED
    assert mended.run.comparison is None


def test_ideas_on_one_template_share_its_baseline(
    runner: Runner, template: Path, idea: Idea
) -> None:
    steps: list[str] = []
    runner.baseline(idea.id)
    other = runner.create_idea("A toy idea", template=template)
    assert other.id != idea.id
    baseline = runner.baseline(other.id, progress=lambda label, detail: steps.append(detail))
    assert baseline.run is not None and baseline.run.metrics == {"loss": 0.9}
    assert steps == ["already measured for this template, model and machine"]
    assert baseline.budget.charged is False
    assert "Baseline results" in str(baseline.messages[-1]["content"])


def test_preflight_and_smoke_find_faults_at_no_cost(
    runner: Runner, template: Path, edit: Edit
) -> None:
    (template / "check.py").write_text(
        "import experiment\nexperiment.Trainer(experiment.Model()).loss()\n"
    )
    (template / "template.toml").write_text(
        'editable = ["experiment.py"]\n'
        '[preflight]\ncommand = "python check.py"\n'
        '[smoke]\ncommand = "python experiment.py --out_dir={out_dir}"\nenv = { SMOKE = "1" }\n'
    )
    idea = runner.create_idea("Checked", template=template)
    fault = runner.propose(idea.id, edit(RATE, "        self.rat = 0.1"))
    assert (fault.accepted, fault.stage, kinds(fault)) == (
        False,
        Stage.VALIDATE,
        ["attribute_error"],
    )
    assert fault.problems[0].path == "experiment.py"
    assert "Your edit was applied" in fault.message
    assert fault.budget.charged is False
    again = runner.propose(
        idea.id, edit("        self.rat = 0.1", RATE) + edit(RATE, "        self.rat = 0.1")
    )
    assert again.accepted is False
    line = "    loss = Trainer(Model()).loss()"
    smoke = line + '\n    assert os.environ.get("SMOKE") is None, "seen in smoke"'
    mended = edit("        self.rat = 0.1", RATE) + edit(line, smoke)
    observation = runner.propose(idea.id, mended)
    assert (observation.stage, kinds(observation)) == (Stage.VALIDATE, ["assertion"])
    assert runner.show(idea.id).budget.used == 0


SAVES_ON_SIGNAL = """\
    import signal
    def save(*_):
        with open(os.path.join(args.out_dir, "final_info.json"), "w") as file:
            json.dump({"toy": {"means": {"loss": 0.5}}}, file)
        THEN
    signal.signal(signal.SIGUSR1, save)
    while True:
        signal.pause()
"""


@pytest.mark.parametrize(
    ("then", "outcome"),
    [("raise SystemExit", Outcome.SUCCEEDED), ("print('saved')", Outcome.TIMED_OUT)],
)
def test_results_saved_at_the_soft_deadline_are_kept_and_called_partial(
    then: str, outcome: Outcome, runner: Runner, template: Path, edit: Edit
) -> None:
    limits = {"time_s": 2.0, "soft_deadline_s": 1.5}
    idea = runner.create_idea("Saves", template=template, limits=limits)
    line = '    print("loss", loss)'
    reply = edit(line, f"{line}\n{SAVES_ON_SIGNAL.replace('THEN', then).rstrip()}")
    run = runner.propose(idea.id, reply).run
    assert run is not None and run.outcome is outcome
    assert run.metrics == {"loss": 0.5}
    assert "partial-results" in [finding.code for finding in run.findings]
    assert (run.comparison is None) == (outcome is Outcome.TIMED_OUT)


def test_a_refusal_that_was_the_machines_doing_is_not_held_against_the_code(
    runner: Runner, template: Path, tmp_path: Path, edit: Edit
) -> None:
    full = tmp_path / "disk is full"
    full.touch()
    (template / "check.py").write_text(
        f"import os\nif os.path.exists({str(full)!r}):\n"
        "    raise OSError(28, 'No space left on device')\n"
    )
    (template / "template.toml").write_text('[preflight]\ncommand = "python check.py"\n')
    idea = runner.create_idea("Full", template=template, sandbox="L0")
    there, back = edit(RATE, "        self.rate = 0.3"), edit("        self.rate = 0.3", RATE)
    assert kinds(runner.propose(idea.id, there)) == ["disk_full"]
    full.unlink()
    runner.propose(idea.id, back)
    again = runner.propose(idea.id, there)
    assert again.run is not None and again.run.outcome is Outcome.SUCCEEDED


def test_a_degenerate_baseline_stops_before_any_run(
    runner: Runner, template: Path, edit: Edit
) -> None:
    script = template / "experiment.py"
    results = (
        '{"eval_result_metrics": {"sae": {"sae_test_accuracy": 0.5, "sae_top_1_test_accuracy": 0.5}}, '
        '"training_steps": 0, "final_loss": None}'
    )
    script.write_text(script.read_text().replace('{"toy": {"means": {"loss": loss}}}', results))
    idea = runner.create_idea("Untrained", template=template)
    observation = runner.propose(idea.id, edit(RATE, "        self.rate = 0.2"))
    assert (observation.stage, kinds(observation)) == (Stage.ADMIT, ["baseline_degenerate"])
    assert "no-training" in observation.message
    assert observation.budget.used == 0


def test_diff_show_and_messages(runner: Runner, idea: Idea, edit: Edit) -> None:
    runner.propose(idea.id, edit(RATE, "        self.rate = 0.2"))
    runner.propose(idea.id, edit("        self.rate = 0.2", "        self.rate = 0.3"))
    assert "-        self.rate = 0.1" in runner.diff(idea.id, 2)
    assert "-        self.rate = 0.2" in runner.diff(idea.id, 2, against=1)
    with pytest.raises(UnknownRun, match="no run 9"):
        runner.diff(idea.id, 9)
    with pytest.raises(UnknownRun):
        runner.run(idea.id, 9)
    view = runner.show(idea.id)
    assert [(a.attempt, a.stage, a.run) for a in view.attempts] == [(1, "done", 1), (2, "done", 2)]
    assert [run.index for run in view.runs] == [0, 1, 2]
    rendered = runner.messages(idea.id, "anthropic")
    assert [m["role"] for m in rendered["messages"]] == ["user", "assistant"] * 2 + ["user"]


def test_misuse_is_said_plainly(runner: Runner, template: Path) -> None:
    with pytest.raises(UnknownIdea, match="there is no idea"):
        runner.propose("../../etc", "x")
    with pytest.raises(UsageError):
        runner.create_idea(" ", template=template)
    with pytest.raises(UsageError):
        runner.create_idea("x", template=template, max_runs=0)
    with pytest.raises(UsageError, match="there is no sandbox level 'L9'"):
        runner.create_idea("x", template=template, sandbox="L9")
    with pytest.raises(UsageError, match="unknown limits"):
        runner.create_idea("x", template=template, limits={"sec": 1})
    with pytest.raises(UsageError, match="limit time_s"):
        runner.create_idea("x", template=template, limits={"time_s": "long"})
    assert runner.create_idea("b\udcff", template=template, plan="\udcff").title == "b?"


def test_titles_become_readable_unique_ids(runner: Runner, template: Path) -> None:
    titles = ["Médian–MAD SAE!", "Médian–MAD SAE!", "日本語", "日本語"]
    assert [runner.create_idea(title, template=template).id for title in titles] == [
        "medianmad-sae",
        "medianmad-sae-2",
        "idea",
        "idea-2",
    ]


def test_every_attempt_is_a_commit_and_every_run_has_a_ref(
    runner: Runner, idea: Idea, edit: Edit, home: Path
) -> None:
    failed = runner.propose(idea.id, edit(RATE, "        self.rat = 0.2"))
    runner.propose(idea.id, edit("        self.rat = 0.2", "        self.rate = 0.2"))
    refs = subprocess.run(
        ["git", f"--git-dir={home / 'repo.git'}", "for-each-ref", "--format=%(refname)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert [ref for ref in refs if ref.startswith("refs/runs/")] == [
        f"refs/runs/{idea.id}/{index}" for index in range(3)
    ]
    assert failed.run is not None
    assert failed.run.diff_stat.startswith("1 file changed")


def test_what_is_stored_is_what_was_answered(
    runner: Runner, idea: Idea, edit: Edit, home: Path
) -> None:
    observation = runner.propose(idea.id, edit(RATE, "        self.rate = 0.2"))
    stored = home / "ideas" / idea.id / "attempts" / "1" / "observation.json"
    assert json.loads(stored.read_text()) == observation.model_dump(mode="json")
