"""What a proposal asks for in models and data: refused, replaced or granted, and always said."""

from __future__ import annotations

from typing import Protocol

from agent_runner import models
from agent_runner.models import Asset
from agent_runner.records import Access, Problem, Stage
from agent_runner.service.endings import Ending, refused
from agent_runner.service.evidence import read_events
from agent_runner.service.in_work import InWork
from agent_runner.service.model_access import Decision
from agent_runner.service.runs import stored_result


class Asking(InWork, Protocol):
    """What is needed of a proposal to see to its models."""

    @property
    def models(self) -> Decision: ...
    @property
    def expected_model(self) -> str: ...
    @property
    def asked_models(self) -> list[str]: ...
    @property
    def named_anew(self) -> tuple[Asset, ...]: ...


def check_models(proposal: Asking) -> Ending | None:
    """Refuse where no model can be used, or none of those that may be; tell about each that the edit names."""
    decision = proposal.models
    if decision.has_models and not proposal.expected_model:
        opening = "Your edit was applied, but the model that it asks for cannot be used"
        return unavailable(f"{opening}, so no run was started", proposal)
    extra = tuple(a for a in proposal.named_anew if decision.access(a.name) is None)
    found = {a.name: a for a in (*decision.accesses, *_assess(proposal, extra))}
    for asset in proposal.named_anew:
        access = found[asset.name]
        if asset.name in proposal.asked_models and not decision.granted(asset.name):
            return unavailable(
                f"Your edit was applied, but {_place(asset)} asks for a model that cannot be used, so no run "
                "was started",
                proposal,
            )
        told = _told(asset, access, proposal)
        if told:
            proposal.warnings.append(
                Problem(
                    kind="model_replaced" if asset.kind == "model" else "data_unavailable",
                    message=told,
                    path=asset.file,
                    line=asset.line,
                    severity="warning",
                )
            )
    return None


def tell_of_change(proposal: Asking) -> None:
    """Once the smoke run has shown what the code asks for: say so where it is not what run_0 asked for."""
    paths = proposal.workspace.paths(proposal.idea)
    used = read_events(paths.attempt(proposal.attempt).step("smoke")).model
    baseline = stored_result(paths.run(0))
    before = baseline.model if baseline else None
    if used is None or before is None or used.requested == before.requested:
        return
    if any(problem.kind == "model_replaced" for problem in proposal.warnings):
        return
    got = "and gets it" if used.granted == used.requested else f"and gets {used.granted} instead"
    message = (
        f"your code asks for the language model {used.requested} where run_0 asked for {before.requested}, "
        f"{got}. Models here:\n{models.available(proposal.models.accesses, proposal.idea.models)}"
    )
    proposal.warnings.append(Problem(kind="model_changed", message=message, severity="warning"))


def unavailable(opening: str, proposal: Asking) -> Ending:
    """The refusal of a run for which there is no model. It costs nothing, and the same code may try again."""
    listing = models.available(proposal.models.accesses, proposal.idea.models)
    reason = "the model that it asks for cannot be used here"
    return refused(Stage.VALIDATE, "model_unavailable", f"{opening}:\n{listing}", reason)


def _assess(proposal: Asking, assets: tuple[Asset, ...]) -> tuple[Access, ...]:
    if not assets:
        return ()
    workspace, idea = proposal.workspace, proposal.idea
    return models.assess(
        assets,
        idea.template.models,
        workspace.paths(idea).worktree,
        workspace.machine(idea.template),
        workspace.home.hub,
    )


def _told(asset: Asset, access: Access, proposal: Asking) -> str | None:
    """What the agent must know of a name it wrote; None where it simply gets what it asks for."""
    decision = proposal.models
    use = decision.grants.get(asset.name) or decision.grants.get(models.ANY_OTHER)
    if asset.kind == "dataset":
        if access.usable:
            return None
        why = models.in_words(access.reason, access.remedy)
        return f"{_place(asset)} names the data set {asset.name}: {why}"
    if use is None or use.granted in (asset.name, ""):  # a refusal is told by itself
        return None
    obstacle = use if access.usable else access
    return (
        f"{_place(asset)} asks for the language model {asset.name}: "
        f"{models.in_words(obstacle.reason, obstacle.remedy)} A run that asks for it gets {use.granted} "
        f"instead. Models here:\n{models.available(decision.accesses, proposal.idea.models)}"
    )


def _place(asset: Asset) -> str:
    return f"{asset.file}:{asset.line}" if asset.file else "your edit"
