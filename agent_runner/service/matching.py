"""Which baseline a run is compared with: its idea's own, or one that got the same model as the run gets."""

from __future__ import annotations

from typing import Protocol

from agent_runner.models import ANY_OTHER
from agent_runner.paths import JobPaths, read_json, write_json
from agent_runner.records import Idea, Outcome, Problem, RunResult, Stage
from agent_runner.results import is_degenerate
from agent_runner.service.endings import Ending, refused
from agent_runner.service.evidence import read_events
from agent_runner.service.fingerprints import fingerprint
from agent_runner.service.in_work import InWork
from agent_runner.service.measuring import IMPORTED, Reference
from agent_runner.service.model_access import uniform
from agent_runner.service.runs import stored_result
from agent_runner.service.shared_baselines import SharedBaseline
from agent_runner.service.workspace import Workspace


class Matched(InWork, Protocol):
    """What is needed of a proposal to find its run's baseline."""

    @property
    def expected_model(self) -> str: ...


def match_baseline(proposal: Matched) -> Ending | None:
    """Find out which baseline the run is to be compared with, and measure it where there is none yet.

    The smoke run has told which model the edited code asks for, and gets. Where that is not the model of
    run_0, or the machine is not what it was then, the template is run in the same way first, uncharged.
    """
    workspace, idea = proposal.workspace, proposal.idea
    own = stored_result(workspace.paths(idea).run(0))
    if own is None or own.fingerprint in (None, IMPORTED) or own.outcome is not Outcome.SUCCEEDED:
        return None
    asked = read_events(workspace.paths(idea).attempt(proposal.attempt).step("smoke")).model
    granted = proposal.expected_model
    if asked is not None and proposal.grants:  # what it then got is not for the program to say
        use = proposal.grants.get(asked.requested) or proposal.grants[ANY_OTHER]
        granted = use.granted
    wanted = fingerprint(workspace, idea, granted)
    if wanted == own.fingerprint:
        return None
    proposal.progress("baseline", f"of another kind than run_0: {granted or 'this machine'}")
    grants = uniform(proposal.grants, granted)
    shared = SharedBaseline(workspace, idea, grants, wanted, proposal.progress, proposal.attempt)
    with shared.measured(repeat_failed=False) as result:
        if result is None:
            return None  # cancelled, which the caller sees for itself
    write_json(
        workspace.paths(idea).attempt(proposal.attempt).baseline,
        {"fingerprint": wanted, "model": granted},
    )
    if result.outcome is not Outcome.SUCCEEDED:
        message = (
            f"the template itself does not run in this way ({result.outcome}), so this run is compared with "
            "nothing"
        )
        proposal.warnings.append(Problem(kind="no_baseline", message=message, severity="warning"))
    return degenerate(result, f"the template's results with {granted or 'this machine'}")


def degenerate(baseline: RunResult, whose: str = "this idea's baseline") -> Ending | None:
    """The refusal of a run whose baseline is worth nothing, before anybody spends a token on comparing."""
    if not is_degenerate(baseline.findings):
        return None
    reasons = "\n".join(
        f"- {finding.code}: {finding.message}"
        for finding in baseline.findings
        if finding.severity == "fail"
    )
    message = (
        f"Your edit was applied, but nothing can be compared with {whose}, so no run was started. The "
        f"template has to be mended first, or another model used:\n{reasons}"
    )
    return refused(Stage.ADMIT, "baseline_degenerate", message, "the baseline is degenerate")


def matched_baseline(workspace: Workspace, idea: Idea, attempt: int) -> Reference:
    """The baseline that was found for the run of an attempt."""
    paths = workspace.paths(idea)
    chosen = read_json(paths.attempt(attempt).baseline)
    if isinstance(chosen, dict) and isinstance(chosen.get("fingerprint"), str):
        other = chosen["fingerprint"]
        return _reference(f"baseline {other}", workspace.home.baseline(other))
    return _reference("run_0", paths.run(0))


def _reference(name: str, records: JobPaths) -> Reference:
    return Reference(name, stored_result(records), read_json(records.final_info))
