"""The way of one proposal: apply, validate, admit, execute, settle, observe.

Each step either passes (None) or is where the proposal ends (`Ending`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

from agent_runner.edits import apply_to_directory
from agent_runner.failures import KINDS, charges
from agent_runner.ledger import UNCHARGED_PER_RUN
from agent_runner.models import Asset
from agent_runner.paths import read_json, read_text, write_atomic
from agent_runner.records import (
    Idea,
    Limits,
    ModelUse,
    Observation,
    Outcome,
    Problem,
    RunResult,
    Stage,
)
from agent_runner.service import telling
from agent_runner.service.baselines import ensure_baseline
from agent_runner.service.checks import run_check
from agent_runner.service.endings import (
    Ending,
    cancelled,
    conclude,
    not_started,
    out_of_budget,
    refused,
    refused_for,
    run_ending,
)
from agent_runner.service.fingerprints import fingerprint
from agent_runner.service.jobs import Progress, StartFailed
from agent_runner.service.matching import degenerate, match_baseline, matched_baseline
from agent_runner.service.measuring import IMPORTED
from agent_runner.service.model_access import (
    Decision,
    Wanted,
    certainly_asked,
    decide,
    default_model,
    newly_named,
)
from agent_runner.service.model_checks import check_models, tell_of_change
from agent_runner.service.runs import RunSpec, execute, stored_result
from agent_runner.service.workspace import Workspace
from agent_runner.validation import check_contract, check_static

_REFUNDED_RUNS = 2  # of the same code, before it takes a person to look at the machine


@dataclass
class Proposal:
    """One proposal on its way. Held under the idea's lock from start to end."""

    workspace: Workspace
    idea: Idea
    attempt: int
    reply: str
    progress: Progress
    begun: str  # when the ledger took it up, ISO 8601
    parent: str = ""  # the commit this proposal's edit starts from
    commit: str = ""
    tree: str | None = None
    warnings: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._paths = self.workspace.paths(self.idea)
        self._records = self._paths.attempt(self.attempt)
        self._repository = self.workspace.repository
        self._editable = self.idea.template.editable

    def observe(self) -> Observation:
        """Take every step until one ends the proposal, then settle it."""
        write_atomic(self._records.reply, self.reply.encode("utf-8", errors="surrogatepass"))
        steps = (
            self._has_budget,
            self._apply,
            self._is_new,
            self._validate,
            self._has_model,
            self._has_baseline,
            self._preflight,
            self._smoke,
            self._has_match,
        )
        for step in steps:
            ending = self.cancelled() or step()
            if ending is not None:
                return conclude(self, ending)
        return conclude(self, self.cancelled() or self._run())

    def cancelled(self) -> Ending | None:
        """Its ending, if somebody has asked for it before a run was started."""
        if not self.workspace.is_cancelled(self.idea, self.attempt):
            return None
        return cancelled(Stage.VALIDATE if self.commit else Stage.APPLY, applied=bool(self.commit))

    @cached_property
    def models(self) -> Decision:
        """Decided once: the checks before a run and the run itself get the same models."""
        asked = frozenset(asset.name for asset in self.named_anew if asset.kind == "model")
        asking = partial(self.workspace.is_cancelled, self.idea, self.attempt)
        return decide(self.workspace, self.idea, asked, progress=self.progress, cancelled=asking)

    @property
    def grants(self) -> dict[str, ModelUse]:
        return self.models.grants

    @cached_property
    def expected_model(self) -> str:
        """What the edited code will be granted, as far as can be read: for a name of its own, or by default."""
        asked = self.asked_models
        return self.models.granted(asked[0]) if len(asked) == 1 else self._default_model()

    @property
    def asked_models(self) -> list[str]:
        """Models that the edit certainly asks for."""
        return certainly_asked(self.named_anew, self.idea.template, self.grants)

    def _default_model(self) -> str:
        """What the template asks for stands for; where that is nothing, what the edit asks for instead."""
        asked = map(self.models.granted, self.asked_models)
        return default_model(self.grants) or next(filter(None, asked), "")

    @cached_property
    def named_anew(self) -> tuple[Asset, ...]:
        """Models and data sets that the edited files name and the template does not."""
        texts = self._editable_texts()
        base = {name: self._repository.show(self.idea.base_commit, name) for name in texts}
        return newly_named(texts, base)

    def _editable_texts(self) -> dict[str, str]:
        return {name: read_text(self._paths.worktree / name) for name in self._editable}

    # ------------------------------------------------------------ admit, before any work

    def _has_budget(self) -> Ending | None:
        state = self.workspace.ledger.budget(self.idea.id)
        if state.left <= 0:
            return out_of_budget(applied=False)
        if state.attempts_left <= 0:
            message = (
                "Nothing was changed: this idea has used up its proposals that cost nothing "
                f"({state.max_runs} runs allow {UNCHARGED_PER_RUN * state.max_runs} of them), although "
                f"{state.left} runs are left."
            )
            return refused(Stage.ADMIT, "attempts_exhausted", message, "no uncharged attempts left")
        return None

    # ------------------------------------------------------------ apply

    def _apply(self) -> Ending | None:
        self.progress("apply", "")
        self.undo_strays()
        outcome = apply_to_directory(self.reply, self._paths.worktree, self._editable)
        if not outcome.applied:
            problems = tuple(
                Problem(kind=p.kind, message=p.message, path=p.path, line=p.line, block=p.block)
                for p in outcome.problems
            )
            return Ending(
                Stage.APPLY,
                f"the edit was refused ({outcome.kind})",
                lambda budget: f"{outcome.message}\n\n{telling.budget_line(budget)}",
                problems,
            )
        self.parent = self._repository.head(self.idea.id)
        self.commit, self.tree = self._repository.commit_attempt(
            self.idea.id, self.attempt, self._editable, date=self.begun
        )
        write_atomic(self._records.diff, self._repository.diff(self.parent, self.commit).encode())
        return None

    def undo_strays(self) -> None:
        """Leave the worktree as committed: put back what was changed, set aside what was added.

        A run could otherwise change the files of the next one, or add a module that is found before the
        real one. What is set aside is kept with the attempt's records.
        """
        mended = self._repository.repair(self.idea.id, self.idea.base_commit)
        changed = self._repository.changed_files(self.idea.id)
        self._repository.restore(self.idea.id, self._repository.head(self.idea.id), changed)
        added = self._repository.untracked(self.idea.id)
        for name in added:
            target = self._records.strays / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (self._paths.worktree / name).rename(target)
        self.warnings += [
            Problem(kind="worktree_repaired", message=text, severity="warning") for text in mended
        ]
        if changed or added:
            listing = ", ".join([*changed, *added][:10])
            self.warnings.append(
                Problem(
                    kind="files_restored",
                    message="something other than a proposal had changed these files, and they were put "
                    f"back or set aside: {listing}",
                    severity="warning",
                )
            )

    # ------------------------------------------------------------ validate

    def _is_new(self) -> Ending | None:
        """Code that this idea has run, or that was found faulty, is answered from the record."""
        if self.tree == self.idea.base_tree:
            if (ending := self._has_model()) is not None:
                return ending
            baseline = self._baseline()
            return self.cancelled() or self._already_run(baseline)
        refunded: list[RunResult] = []
        for row in self.workspace.ledger.runs(self.idea.id):
            result = stored_result(self._paths.run(row.number)) if row.tree == self.tree else None
            # One that was refunded was not the code's doing: the same code may run again.
            if result and row.state == "spent" and not self._would_differ(result):
                return self._already_run(result)
            if row.state == "refunded" and result and result.outcome is not Outcome.NOT_STARTED:
                refunded.append(result)
        if len(refunded) >= _REFUNDED_RUNS:
            return self._keeps_failing(refunded)
        for earlier in self.workspace.ledger.attempts(self.idea.id):
            if earlier.tree == self.tree and earlier.stage == Stage.VALIDATE:
                ending = self._already_refused(earlier.number)
                if ending is not None:
                    return ending
        return None

    def _would_differ(self, run: RunResult) -> bool:
        """Whether the same code would be measured otherwise now.

        With a model preferred to the one it had, which somebody has made usable, or in another environment.
        """
        had = run.model.granted if run.model else ""
        gets = self.models.granted(run.model.requested) if run.model else ""
        if gets != had:
            return self.models.prefers(gets, had)
        if run.fingerprint in (None, IMPORTED):
            return False
        return fingerprint(self.workspace, self.idea, had) != run.fingerprint

    def _already_run(self, run: RunResult) -> Ending:
        problem = Problem(
            kind="already_run", message=f"this code was already run as run_{run.index}"
        )
        return Ending(
            Stage.VALIDATE,
            problem.message,
            lambda budget: telling.already_run(run, budget),
            (problem,),
            run=run,
        )

    def _keeps_failing(self, runs: Sequence[RunResult]) -> Ending:
        problem = Problem(
            kind="already_run",
            message=f"this code was run {len(runs)} times, and each time something else than the code ended "
            "the run",
        )
        return Ending(
            Stage.VALIDATE,
            problem.message,
            lambda budget: telling.keeps_failing(runs, budget),
            (problem,),
            run=runs[-1],
        )

    def _already_refused(self, attempt: int) -> Ending | None:
        stored = read_json(self._paths.attempt(attempt).observation)
        if stored is None:
            return None
        problems = Observation.model_validate(stored).problems
        if any(_may_pass_next_time(problem) for problem in problems):
            return None
        same = Problem(
            kind="already_refused",
            message=f"this is exactly the code of attempt {attempt}, which was refused before its run:",
        )
        return refused_for((same, *problems), f"the same code as attempt {attempt}")

    def _validate(self) -> Ending | None:
        self.progress("validate", "")
        texts = self._editable_texts()
        # Beside the template and not the edit before: an edit stays applied, and so do its faults.
        base = {name: self._repository.show(self.idea.base_commit, name) for name in texts}
        found = check_static(
            texts,
            base=base,
            modules=self._locked_modules(),
            worktree=self._paths.worktree,
            interpreter=self.workspace.jobs.interpreter,
        )
        for name, text in texts.items():
            if name.endswith(".py"):
                found += check_contract(name, base[name], text)
        errors = tuple(problem for problem in found if problem.severity == "error")
        self.warnings += [problem for problem in found if problem.severity == "warning"]
        if not errors:
            return None
        told = (*errors, *self.warnings)
        return Ending(
            Stage.VALIDATE,
            "a fault was found before the run",
            lambda budget: telling.found_faults(told, self.commit, budget),
            errors,
        )

    def _locked_modules(self) -> dict[str, str]:
        """The Python files that the edited ones may import."""
        names = self._repository.files(self.commit)
        python = [name for name in names if name.endswith(".py") and name not in self._editable]
        return {name: read_text(self._paths.worktree / name) for name in python}

    def _has_model(self) -> Ending | None:
        return check_models(self)

    def _has_baseline(self) -> Ending | None:
        return degenerate(self._baseline())

    def _baseline(self) -> RunResult:
        wanted = Wanted(self.grants, self._default_model())
        return ensure_baseline(
            self.workspace, self.idea, self.progress, attempt=self.attempt, wanted=wanted
        )

    def _preflight(self) -> Ending | None:
        step = self.idea.template.preflight
        return run_check(self, "preflight", "the preflight check", step, Limits()) if step else None

    def _smoke(self) -> Ending | None:
        step = self.idea.template.smoke
        if step is None:
            return None
        limits = self.idea.template.limits
        return run_check(self, "smoke", "a smoke run on tiny settings", step, limits)

    def _has_match(self) -> Ending | None:
        tell_of_change(self)
        return match_baseline(self)

    # ------------------------------------------------------------ admit and execute

    def _run(self) -> Ending:
        if (why := self.workspace.why_not_shut_in(self.idea)) is not None:
            self.warnings.append(Problem(kind="no_sandbox", message=why, severity="warning"))
        assert self.tree is not None  # set by _apply, which every way here has passed
        index = self.workspace.ledger.reserve_run(
            self.idea.id, attempt=self.attempt, tree=self.tree, commit=self.commit
        )
        if index is None:
            return out_of_budget(applied=True)
        return self.launch(index)

    def launch(self, index: int) -> Ending:
        """Start the run that was reserved, and see to its end. One that cannot be started is given back."""
        self._repository.set_run_ref(self.idea.id, index, self.commit)
        try:
            run = execute(self.workspace, self.run_spec(index), self.progress)
        except StartFailed as error:
            reason = f"run_{index} could not be started"
            self.workspace.ledger.settle_run(
                self.idea.id, index, charged=False, outcome=Outcome.NOT_STARTED, reason=reason
            )
            # So that the same reply can be sent again: applied twice it would be refused.
            self._repository.undo_attempt(self.idea.id, self.attempt)
            return not_started(error, reason)
        return run_ending(self, run)

    def run_spec(self, index: int, *, starting: bool = True) -> RunSpec:
        """starting: whether it is still to be started; else nobody decides about its models any more."""
        assert self.tree is not None
        baseline = matched_baseline(self.workspace, self.idea, self.attempt)
        return RunSpec(
            idea=self.idea,
            index=index,
            commit=self.commit,
            tree=self.tree,
            worktree=self._paths.worktree,
            records=self._paths.run(index),
            grants=self.grants if starting else {},
            attempt=self.attempt,
            fingerprint=baseline.fingerprint,
            reference=baseline,
        )


def _may_pass_next_time(problem: Problem) -> bool:
    """A refusal for what would not be charged as a run: the machine's doing, and not the code's."""
    machine = problem.kind in KINDS and not charges(problem.kind)[0]
    return machine or problem.kind == "model_unavailable"
