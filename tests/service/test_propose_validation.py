"""Faults that are seen before a run: what is refused, what is only said, and that neither costs a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent_runner.records import Idea, Observation, Outcome, Stage
from agent_runner.service import Runner

Edit = Callable[[str, str], str]
RATE = "        self.rate = 0.1"
LOSS = "        return 1.0 - self.model.rate"
MAIN = "    loss = Trainer(Model()).loss()"


def seen_before_the_run(observation: Observation, kind: str, line: int | None = None) -> str:
    """Check a refusal for one certain fault, and return what the agent reads."""
    assert (observation.accepted, observation.stage) == (False, Stage.VALIDATE)
    errors = [p for p in observation.problems if p.severity == "error"]
    assert [(p.kind, p.path) for p in errors] == [(kind, "experiment.py")]
    assert line is None or errors[0].line == line
    assert observation.budget.charged is False and observation.budget.used == 0
    assert errors[0].message in observation.message
    assert "Your edit was applied" in observation.message and "used no run" in observation.message
    return observation.message


@pytest.mark.parametrize(
    ("search", "replace", "kind", "words"),
    [
        (LOSS, "        return np.abs(1.0 - self.model.rate)", "name_error", "import numpy as np"),
        (LOSS, "        return 1.0 - self.rate", "attribute_error", "Model sets"),
        (LOSS, "        return 1.0 - self.model.rate - rte", "name_error", "rte"),
        (MAIN, MAIN + " * args.gama", "bad_arguments", "add_argument"),
    ],
)
def test_a_certain_fault_is_refused(
    runner: Runner, idea: Idea, edit: Edit, search: str, replace: str, kind: str, words: str
) -> None:
    assert words in seen_before_the_run(runner.propose(idea.id, edit(search, replace)), kind)


def test_a_fault_that_stays_in_the_file_is_found_again(
    runner: Runner, idea: Idea, edit: Edit
) -> None:
    """An edit stays applied: the next one is judged beside the template, not beside the faulty file."""
    seen_before_the_run(runner.propose(idea.id, edit(LOSS, LOSS + " + oops")), "name_error")
    other = runner.propose(idea.id, edit(RATE, "        self.rate = 0.2"))
    seen_before_the_run(other, "name_error")
    argument = '    parser.add_argument("--out_dir", type=str, default="run_0")'
    more = argument + '\n    parser.add_argument("--gamma", required=True)'
    runner.propose(idea.id, edit(LOSS + " + oops", LOSS) + edit(argument, more))
    still = runner.propose(
        idea.id, edit("self.rate = 0.2", "self.rate = 0.3").replace("0.2", "0.2")
    )
    assert still.accepted is False and still.budget.charged is False


def test_a_doubt_is_said_and_does_not_stop_the_run(runner: Runner, idea: Idea, edit: Edit) -> None:
    twice = LOSS + "\n\n    def loss(self):\n" + LOSS.replace("1.0", "2.0")
    observation = runner.propose(idea.id, edit(LOSS, twice))
    assert observation.run is not None and observation.run.outcome is Outcome.SUCCEEDED
    doubts = [p for p in observation.problems if p.severity == "warning"]
    assert [p.kind for p in doubts] == ["doubtful_code"] and doubts[0].line is not None
    assert doubts[0].message in observation.message


def test_the_template_itself_is_above_suspicion(runner: Runner, template: Path, edit: Edit) -> None:
    """What is wrong in it, and does no harm when it runs, is nothing that an edit is told of."""
    file = template / "experiment.py"
    text = file.read_text().replace(
        "class Model:", "def unused():\n    return self_made\n\n\nclass Model:"
    )
    file.write_text(
        text.replace(
            MAIN, "    try:\n        unused()\n    except NameError:\n        pass\n" + MAIN
        )
    )
    idea = runner.create_idea("Doubtful", template=template)
    observation = runner.propose(idea.id, edit(RATE, "        self.rate = 0.2"))
    assert observation.run is not None and observation.run.outcome is Outcome.SUCCEEDED
    assert observation.problems == ()


def test_suspicious_results_of_a_smoke_run_are_told(
    runner: Runner, template: Path, edit: Edit
) -> None:
    (template / "template.toml").write_text(
        '[smoke]\ncommand = "python experiment.py --out_dir={out_dir}"\nenv = { SMOKE = "1" }\n'
    )
    idea = runner.create_idea("Smoke", template=template)
    # As SAEBench writes them: in the smoke run, an SAE that was never trained.
    steps = '0 if os.environ.get("SMOKE") else 9'
    sae = f'{{"eval_result_metrics": {{"sae": {{}}}}, "training_steps": {steps}, "loss": loss}}'
    observation = runner.propose(
        idea.id, edit_line(edit, template, "json.dump", f"        json.dump({sae}, file)")
    )
    assert observation.run is not None and observation.run.outcome is Outcome.SUCCEEDED
    doubts = {problem.kind: problem for problem in observation.problems}
    assert all(problem.severity == "warning" for problem in doubts.values())
    doubt = doubts["no-training"]
    assert "smoke run" in doubt.message and doubt.message in observation.message


def edit_line(edit: Edit, template: Path, old: str, new: str) -> str:
    """An edit that replaces the one line of the template with `old` in it."""
    lines = (template / "experiment.py").read_text().splitlines()
    (line,) = (line for line in lines if old in line)
    return edit(line, new)


def test_code_that_the_machine_keeps_killing_is_not_run_for_ever(
    runner: Runner, template: Path, edit: Edit
) -> None:
    """Such runs are refunded, so that the run budget alone would not end them."""
    # Without a sandbox: in one a signal could only be the program's own doing.
    idea = runner.create_idea("Killed", template=template, sandbox="L0")
    runner.baseline(idea.id)
    killed = MAIN + "\n    os.kill(os.getpid(), 9)"
    there, back = edit(MAIN, killed), edit(killed, MAIN)
    for _ in range(2):
        observation = runner.propose(idea.id, there)
        assert observation.run is not None and observation.run.outcome is Outcome.KILLED
        assert observation.budget.charged is False
        assert runner.propose(idea.id, back).accepted is False  # the baseline's code
    observation = runner.propose(idea.id, there)
    assert (observation.accepted, observation.stage) == (False, Stage.VALIDATE)
    assert [problem.kind for problem in observation.problems] == ["already_run"]
    assert "a person has looked at the machine" in observation.message
    assert observation.run is not None and observation.run.index == 2
    assert len(runner.show(idea.id).runs) == 3  # with the baseline
