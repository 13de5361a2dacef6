"""Which model a job gets when it asks for one: found out, decided upon and fetched before anything is run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agent_runner import models
from agent_runner.errors import UsageError
from agent_runner.models import ANY_OTHER, Asset
from agent_runner.models.needs import effective
from agent_runner.records import Access, Idea, ModelUse, Template
from agent_runner.service.jobs import Progress
from agent_runner.service.workspace import Workspace


@dataclass(frozen=True)
class Decision:
    """What was found out about each model and data set, and which model each name stands for.

    Empty `uses`: the template names no models.
    """

    accesses: tuple[Access, ...] = ()
    uses: Mapping[str, ModelUse] | None = None

    @property
    def grants(self) -> dict[str, ModelUse]:
        return dict(self.uses or {})

    @property
    def has_models(self) -> bool:
        return bool(self.uses)

    def granted(self, name: str) -> str:
        """What a name stands for; empty where for nothing."""
        use = self.grants.get(name) or self.grants.get(ANY_OTHER)
        return use.granted if use else ""

    def prefers(self, name: str, other: str) -> bool:
        """Whether one model of the template comes before another in its order of preference."""
        order = list(self.grants)
        return name in order and (other not in order or order.index(name) < order.index(other))

    def access(self, name: str) -> Access | None:
        return next((found for found in self.accesses if found.name == name), None)


@dataclass(frozen=True)
class Wanted:
    """Which model a baseline is to be run with, among those that were granted."""

    grants: dict[str, ModelUse]
    granted: str


def default_model(grants: Mapping[str, ModelUse]) -> str:
    """What the first model of a template, which is the one it asks for, stands for; empty where for none."""
    first = next(iter(grants.values()), None)
    return first.granted if first else ""


def decide(
    workspace: Workspace,
    idea: Idea,
    asked: frozenset[str] = frozenset(),
    *,
    progress: Progress = lambda _label, _detail: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Decision:
    """Decide for the template's models, and fetch those a job will use: the default, and what is `asked` for.

    A model that cannot be fetched is as one that cannot be used: the next one is tried.
    """
    if not idea.template.models:
        return Decision()
    machine = workspace.machine(idea.template)
    specs = tuple(effective(spec, machine) for spec in idea.template.models)
    template = workspace.paths(idea).worktree
    accesses = models.assess(
        models.template_assets(specs), specs, template, machine, workspace.home.hub
    )
    while True:
        uses = models.grant(specs, accesses, fallback=idea.fallback, allowed=idea.models)
        wanted = {default_model(uses)} | {uses.get(name, uses[ANY_OTHER]).granted for name in asked}
        missing = [a for a in accesses if a.status == "downloadable" and a.name in wanted]
        missing = [access for access in missing if access.kind == "model"]
        if not missing or cancelled():
            return Decision(accesses, _without_missing(uses, accesses))
        fetched = models.download(
            missing[0], machine, memo=workspace.home.hub, progress=progress, cancelled=cancelled
        )
        accesses = tuple(fetched if found is missing[0] else found for found in accesses)


def _without_missing(
    uses: Mapping[str, ModelUse], accesses: tuple[Access, ...]
) -> dict[str, ModelUse]:
    """What nobody has asked for was not fetched: a run that asks for it all the same gets the default."""
    absent = {found.name for found in accesses if found.status == "downloadable"}
    default = default_model(uses)
    return {
        name: use
        if use.granted not in absent
        else ModelUse(
            requested=name,
            granted="" if default in absent else default,
            reason="it is not on this machine yet",
            remedy=f'name it in a plain assignment, `model_name = "{use.granted}"`: then it is fetched first',
        )
        for name, use in uses.items()
    }


def uniform(grants: Mapping[str, ModelUse], granted: str) -> dict[str, ModelUse]:
    """Every name stands for one model: how a baseline is run for a run that was granted this one."""
    return {
        name: use
        if use.granted == granted
        else _replaced(use, granted, f"the baseline of runs with {granted}")
        for name, use in grants.items()
    }


def _replaced(use: ModelUse, granted: str, reason: str) -> ModelUse:
    return use.model_copy(update={"granted": granted, "reason": reason, "remedy": ""})


def newly_named(texts: Mapping[str, str], base: Mapping[str, str]) -> tuple[Asset, ...]:
    """Models and data sets that the edited files name more often than the template's."""
    before = Counter((asset.kind, asset.name) for asset in models.named_assets(base))
    found = []
    for asset in models.named_assets(texts):
        if before[asset.kind, asset.name] > 0:
            before[asset.kind, asset.name] -= 1
        else:
            found.append(asset)
    # Of several places with one name, the last is as good as any.
    return tuple({(asset.kind, asset.name): asset for asset in found}.values())


def certainly_asked(
    assets: Sequence[Asset], template: Template, grants: Mapping[str, ModelUse]
) -> list[str]:
    """The models that code is certain to ask for, among the names it holds.

    A name that the template does not know may be a path or a title: where there is a smoke run, that shows it.
    """
    named = [asset.name for asset in assets if asset.kind == "model"]
    return [name for name in named if name in grants or template.smoke is None]


def check_names(template: Template, names: Sequence[str]) -> None:
    """Raises UsageError where one of the names is not a model of the template."""
    known = [spec.name for spec in template.models]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(
            f"template {template.name} has no model {', '.join(map(repr, unknown))}",
            f"Its models: {', '.join(known) or 'none'}.",
        )
