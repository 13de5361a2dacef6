"""One proposal with an injected fault, and the same one without."""

from __future__ import annotations

from pathlib import Path

from fault_homes import Model, propose, quick_check, reply
from fault_processes import call
from syscall_faults import Spoken, command

from agent_runner.records import Outcome


def faulty_round(model: Model, folder: Path, **fault: str | None) -> Spoken:
    """A proposal through the command line while a call fails; then the same request again, with no fault.

    Raises AssertionError where the error was not clear, something was lost or charged twice, or the idea does
    not go on when the fault has ended.
    """
    new = model.value + 1
    text, key = reply(model.value, new), f"edit {new}"
    (folder / "reply.md").write_text(text)
    arguments = ["propose", model.idea, "--reply", str(folder / "reply.md"), "--json"]
    arguments += ["--idempotency-key", key, "--home", str(model.home)]
    spoken = command(folder, *arguments, **fault)
    model.value = new
    model.replies.append(text)
    observation = call(propose, model.home, model.idea, text, key)
    if [problem.kind for problem in observation.problems] == ["not_started"]:
        # The fault was told as the answer, and the run and its edit were given back: the same may be sent anew.
        assert spoken.code == 3 and not observation.budget.charged
        model.replies.append(text)
        observation = call(propose, model.home, model.idea, text, f"{key} again")
    assert observation.run is not None, observation.message
    assert observation.run.outcome is Outcome.SUCCEEDED, observation.message
    assert observation.run.metrics == {"loss": float(new)}
    model.ran[new] += 1
    quick_check(model.home)
    model.check()
    spoken.must_be_clear()
    return spoken
