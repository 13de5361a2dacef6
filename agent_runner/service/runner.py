"""`Runner`: the whole system as a Python object. Every surface translates to these methods."""

from __future__ import annotations

import datetime
import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent_runner.errors import AgentRunnerError, UnknownRun, UsageError
from agent_runner.failures import printable
from agent_runner.history import render
from agent_runner.paths import file_lock, read_text, try_lock, write_json
from agent_runner.records import (
    AttemptSummary,
    Cancellation,
    Idea,
    IdeaView,
    Limits,
    Observation,
    Outcome,
    Reconciled,
    RunResult,
    Stage,
    Template,
    Verification,
)
from agent_runner.service import telling
from agent_runner.service.attempt_records import record_attempt
from agent_runner.service.baselines import ensure_baseline
from agent_runner.service.cancelling import cancel
from agent_runner.service.imported_baselines import check_import, import_baseline
from agent_runner.service.jobs import Progress
from agent_runner.service.model_access import Decision, check_names, decide
from agent_runner.service.proposals import Proposal
from agent_runner.service.recovery import recover, stored_observation
from agent_runner.service.runs import stored_result
from agent_runner.service.shared_baselines import end_orphans
from agent_runner.service.verifying import end_orphan_verifications, verify
from agent_runner.service.workspace import Workspace
from agent_runner.settings import Settings
from agent_runner.templates import default_folder, load_template, template_files

MAX_REPLY_CHARACTERS = 4_000_000


def _silent(_label: str, _detail: str) -> None:
    """The default progress listener."""


class Runner:
    """Ideas, proposals and runs below one home folder.

    Several processes may use one home at once: proposals of one idea wait for each other, those of
    different ideas do not.
    """

    def __init__(self, home: Path | str | None = None, *, settings: Settings | None = None) -> None:
        settings = settings or Settings()
        if home is not None:
            settings = settings.model_copy(update={"home": Path(home)})
        self._workspace = Workspace.open(settings)

    # ------------------------------------------------------------ ideas

    def create_idea(
        self,
        title: str,
        *,
        template: Path | str = "default",
        plan: str = "",
        max_runs: int = 10,
        limits: Mapping[str, Any] | None = None,
        sandbox: str = "auto",
        models: Sequence[str] = (),
        fallback: bool = True,
        baseline: Mapping[str, Any] | None = None,
    ) -> Idea:
        """Start an idea: a branch and worktree of the template, a budget, and its first message.

        Args:
            template: a template folder, or `default` for the built-in SAE template.
            limits: fields of `Limits` that override the template's (`{"time_s": 600}`).
            sandbox: the level of isolation of its runs (`L0` to `L3`); `auto` is the highest that works.
            models: which of the template's language models it may use, in order of preference; none named: all.
            fallback: whether another model may take the place of one that cannot be used.
            baseline: results that were measured elsewhere (a parsed `final_info.json`), to be run_0 here.

        Raises:
            BaselineRefused: the baseline that was handed in is degenerate, or no result at all.
            TemplateError: the folder does not keep the template contract.
            UsageError: an empty title, or a budget below 1.
            SandboxUnavailable: the level does not work on this machine, or is less than what is required.
        """
        _check_request(title, max_runs)
        folder = default_folder() if str(template) == "default" else Path(template)
        loaded = _with_limits(load_template(folder), limits or {})
        check_names(loaded, models)
        if baseline is not None:
            check_import(baseline)
        workspace = self._workspace
        workspace.level(loaded, sandbox)
        commit, tree = workspace.repository.snapshot(
            folder, template_files(folder), f"template {loaded.name}"
        )
        idea = Idea(
            id=self._reserve_id(title),
            title=_encodable(title.strip()),
            plan=_encodable(plan),
            template=loaded,
            base_commit=commit,
            base_tree=tree,
            max_runs=max_runs,
            sandbox=sandbox,
            models=tuple(models),
            fallback=fallback,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
        paths = workspace.paths(idea)
        workspace.repository.add_worktree(idea.id, commit)
        files = {name: read_text(paths.worktree / name) for name in loaded.editable}
        history = workspace.history(idea).with_user(telling.brief(idea, files), key="brief")
        workspace.save_history(idea, history)
        write_json(paths.record, idea)
        if baseline is not None:
            import_baseline(workspace, idea, baseline)
        # Last: an idea exists once the ledger has it, and by then everything of it is there.
        workspace.ledger.add_idea(idea.id, idea.title, max_runs)
        return idea

    def ideas(self) -> list[IdeaView]:
        """All ideas, oldest first."""
        return [self.show(idea_id) for idea_id in self._workspace.ledger.ideas()]

    def idea(self, idea_id: str) -> Idea:
        """One idea's record. Raises UnknownIdea."""
        return self._workspace.idea(idea_id)

    # ------------------------------------------------------------ running

    def baseline(self, idea_id: str, *, progress: Progress = _silent) -> Observation:
        """Measure run_0, or take it from an equal idea. Never charged; a failed one is tried again."""
        workspace = self._workspace
        idea = workspace.idea(idea_id)
        paths = workspace.paths(idea)
        with file_lock(paths.lock), file_lock(paths.measuring):
            recover(workspace, idea, progress)
            paths.cancel.unlink(missing_ok=True)  # of an earlier baseline
            run = ensure_baseline(workspace, idea, progress, repeat_failed=True)
            note = printable(telling.baseline_note(run))
            history = workspace.history(idea)
            if not any(turn.voice == "assistant" for turn in history.turns):
                history = history.with_user(note, key="baseline")
                workspace.save_history(idea, history)
        budget = workspace.budget(idea, charged=False, reason="the baseline costs nothing")
        return Observation(
            idea=idea.id,
            attempt=0,
            accepted=run.outcome is not Outcome.NOT_STARTED,
            stage=Stage.DONE if run.outcome is Outcome.SUCCEEDED else Stage.EXECUTE,
            run=run,
            budget=budget,
            message=f"{note}\n\n{telling.budget_line(budget)}",
            messages=tuple(history.messages()),
            links={
                "logs": str(workspace.paths(idea).run(0).folder),
                "worktree": str(workspace.paths(idea).worktree),
            },
        )

    def propose(
        self,
        idea_id: str,
        reply: str,
        *,
        idempotency_key: str | None = None,
        progress: Progress = _silent,
    ) -> Observation:
        """Take the agent's whole reply through apply, validate, admit and execute.

        The same `idempotency_key` with the same reply gives the stored Observation and starts nothing.

        Raises:
            UnknownIdea, IdempotencyConflict.
        """
        if len(reply) > MAX_REPLY_CHARACTERS:
            raise UsageError(
                f"the reply has {len(reply):,} characters; at most {MAX_REPLY_CHARACTERS:,} are read",
                "Send the edits only, not whole files or data.",
            )
        workspace = self._workspace
        idea = workspace.idea(idea_id)
        workspace.level(
            idea.template, idea.sandbox
        )  # before anything is begun that could not be run
        digest = hashlib.sha256(reply.encode("utf-8", errors="surrogatepass")).hexdigest()
        with file_lock(workspace.paths(idea).lock):
            recover(workspace, idea, progress, retried_key=idempotency_key)
            attempt = workspace.ledger.begin_attempt(idea.id, digest, idempotency_key)
            if attempt.stage is not None:
                return stored_observation(workspace, idea, attempt.number)
            record_attempt(workspace.paths(idea).attempt(attempt.number), attempt)
            begun = attempt.created
            return Proposal(workspace, idea, attempt.number, reply, progress, begun).observe()

    def verify(
        self, idea_id: str, index: int, *, seed_offset: int = 1, progress: Progress = _silent
    ) -> Verification:
        """Run a run's code again with every seed moved: do its numbers move as measured ones do? Never charged.

        Raises:
            UnknownRun, UsageError, ModelUnavailable: see `agent_runner.service.verifying.verify`.
        """
        workspace = self._workspace
        return verify(workspace, workspace.idea(idea_id), index, seed_offset, progress)

    def models(self, idea_id: str) -> Decision:
        """What was found out about the models and data of an idea's template, and what each name stands for.

        Nothing is fetched for the question.
        """
        workspace = self._workspace
        return decide(workspace, workspace.idea(idea_id), cancelled=lambda: True)

    def cancel(self, idea_id: str, *, progress: Progress = _silent) -> Cancellation:
        """Ask for the end of what is going on for an idea, at whatever stage it is.

        A proposal that is being worked on ends as soon as its worker hears of it; one that a killed server has
        left behind is ended and settled here. A run that had started is charged, anything before is not.
        """
        return cancel(self._workspace, self._workspace.idea(idea_id), progress)

    def reconcile(self, *, progress: Progress = _silent) -> list[Reconciled]:
        """Settle what servers that are gone have left behind: for the start of a server. Repeatable.

        Runs that go on, or are still to be started, are left alone: the next call on their idea takes them
        over. What is wrong with one idea keeps nobody from the others.
        """
        found = [self._reconcile(idea_id, progress) for idea_id in self._workspace.ledger.ideas()]
        end_orphans(self._workspace)
        self._workspace.jobs.clear()
        return found

    def _reconcile(self, idea_id: str, progress: Progress) -> Reconciled:
        workspace = self._workspace
        try:
            idea = workspace.idea(idea_id)
            with try_lock(workspace.paths(idea).lock) as free:
                if not free:
                    return Reconciled(idea=idea.id, busy=True)
                found = recover(workspace, idea, progress, leave_living=True)
                end_orphan_verifications(workspace, idea)
                return found
        except (AgentRunnerError, OSError, ValueError) as error:
            return Reconciled(idea=idea_id, problem=str(error))

    # ------------------------------------------------------------ reading

    def show(self, idea_id: str) -> IdeaView:
        """An idea with its attempts and runs, as recorded."""
        workspace = self._workspace
        idea = workspace.idea(idea_id)
        paths = workspace.paths(idea)
        runs = workspace.ledger.runs(idea.id)
        by_attempt = {row.attempt: row.number for row in runs if row.attempt is not None}
        attempts = tuple(
            AttemptSummary(
                attempt=row.number,
                stage=Stage(row.stage) if row.stage else None,
                charged=row.charged,
                reason=row.reason or "in progress",
                run=by_attempt.get(row.number),
            )
            for row in workspace.ledger.attempts(idea.id)
        )
        results = (stored_result(paths.run(row.number)) for row in runs)
        return IdeaView(
            idea=idea,
            budget=workspace.budget(idea, charged=False, reason="as recorded"),
            attempts=attempts,
            runs=tuple(result for result in results if result is not None),
            links={"worktree": str(paths.worktree), "records": str(paths.folder)},
        )

    def run(self, idea_id: str, index: int) -> RunResult:
        """One run's result. Raises UnknownRun where there is none (yet)."""
        idea = self._workspace.idea(idea_id)
        result = stored_result(self._workspace.paths(idea).run(index))
        if result is None:
            known = [str(run.index) for run in self.show(idea_id).runs]
            raise UnknownRun(
                f"idea {idea_id!r} has no result of run {index}",
                f"Runs with results: {', '.join(known) or 'none yet'}.",
            )
        return result

    def diff(self, idea_id: str, index: int, against: int = 0) -> str:
        """Unified diff of a run's code against another run's; the baseline is run 0."""
        idea = self._workspace.idea(idea_id)
        commits = {0: idea.base_commit}
        commits |= {row.number: row.commit for row in self._workspace.ledger.runs(idea.id)}
        for number in (index, against):
            if number not in commits:
                raise UnknownRun(
                    f"idea {idea_id!r} has no run {number}",
                    f"Its runs: {', '.join(map(str, sorted(commits)))}.",
                )
        return self._workspace.repository.diff(commits[against], commits[index])

    def messages(self, idea_id: str, dialect: str = "openai") -> dict[str, Any]:
        """The idea's conversation, legal for a provider: roles alternate, it ends on a user turn."""
        idea = self._workspace.idea(idea_id)
        return render(self._workspace.history(idea).messages(), dialect)

    # ------------------------------------------------------------ helpers

    def _reserve_id(self, title: str) -> str:
        """A readable folder name, unique here: creating the folder is the reservation."""
        plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
        slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:48].strip("-") or "idea"
        number = 1
        while True:
            candidate = slug if number == 1 else f"{slug}-{number}"
            try:
                self._workspace.home.idea(candidate).folder.mkdir(parents=True)
            except FileExistsError:
                number += 1
            else:
                return candidate


def _check_request(title: str, max_runs: int) -> None:
    if not title.strip():
        raise UsageError("an idea needs a title", "Give a few words that name it.")
    if max_runs < 1:
        raise UsageError(f"a budget of {max_runs} runs allows nothing", "Give at least 1.")


def _with_limits(template: Template, overrides: Mapping[str, Any]) -> Template:
    if not overrides:
        return template
    unknown = set(overrides) - set(Limits.model_fields)
    if unknown:
        raise UsageError(f"unknown limits: {', '.join(sorted(unknown))}", "See the README.")
    try:
        limits = Limits.model_validate({**template.limits.model_dump(), **overrides})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"limit {where}: {first['msg']}", "Give a number.") from error
    return template.model_copy(update={"limits": limits})


def _encodable(text: str) -> str:
    """Text that can be stored: lone surrogates (bytes that were no UTF-8) are replaced."""
    return text.encode("utf-8", errors="replace").decode("utf-8")
