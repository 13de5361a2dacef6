"""What every step of the service needs: the home's paths, git, ledger and job runner, opened once."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from agent_runner import models
from agent_runner.errors import UnknownIdea
from agent_runner.executors import Sandboxing, get_executor
from agent_runner.history import History, Text
from agent_runner.leases import LeaseDesk, default_cpu_slots, discover
from agent_runner.ledger import Ledger
from agent_runner.paths import Home, IdeaPaths, read_json, write_json
from agent_runner.records import Budget, Idea, Template
from agent_runner.service.jobs import JobRunner
from agent_runner.settings import Settings
from agent_runner.worktrees import Repository


@dataclass(frozen=True)
class Workspace:
    """An open home."""

    home: Home
    repository: Repository
    ledger: Ledger
    desk: LeaseDesk
    jobs: JobRunner
    sandboxing: Sandboxing
    settings: Settings

    @classmethod
    def open(cls, settings: Settings) -> Workspace:
        home = Home(settings.home.absolute())
        home.root.mkdir(parents=True, exist_ok=True)
        repository = Repository(home.repository, home.worktrees, home.repository_lock)
        repository.ensure()
        ledger = Ledger(home.ledger)
        ledger.ensure()
        readable = tuple(Path(part) for part in settings.sandbox_read.split(os.pathsep) if part)
        desk = LeaseDesk(home.leases, discover(), settings.cpu_slots or default_cpu_slots())
        executor = get_executor(settings.executor)
        jobs = JobRunner(executor, desk, settings.python, home, readable)
        return cls(home, repository, ledger, desk, jobs, Sandboxing(home.sandbox), settings)

    # ------------------------------------------------------------ ideas

    def idea(self, idea_id: str) -> Idea:
        """Read an idea's record.

        Raises:
            UnknownIdea: there is none of that id.
        """
        # An id is a folder name: anything else cannot name an idea, and must not reach the file system.
        plain = idea_id.replace("-", "").replace("_", "").isalnum()
        record = read_json(self.home.idea(idea_id).record) if plain else None
        if record is None:
            known = ", ".join(self.ledger.ideas()) or "none yet"
            raise UnknownIdea(
                f"there is no idea {idea_id!r} in {self.home.root}",
                f"Ideas here: {known}. Create one with `agent-runner idea new`.",
            )
        return Idea.model_validate(record)

    def paths(self, idea: Idea) -> IdeaPaths:
        return self.home.idea(idea.id)

    def budget(self, idea: Idea, *, charged: bool, reason: str) -> Budget:
        state = self.ledger.budget(idea.id)
        return Budget(
            max_runs=state.max_runs,
            used=state.used,
            left=state.left,
            attempts_left=state.attempts_left,
            charged=charged,
            reason=reason,
        )

    # ------------------------------------------------------------ cancelling

    def ask_to_cancel(self, idea: Idea, attempt: int) -> None:
        """Ask whoever works on this attempt (0: the baseline) to end it."""
        write_json(self.paths(idea).cancel, {"attempt": attempt})

    def is_cancelled(self, idea: Idea, attempt: int) -> bool:
        """Whether somebody has asked for the end of this attempt; a request for an earlier one is void."""
        try:
            asked = read_json(self.paths(idea).cancel)
        except ValueError:
            return False
        return isinstance(asked, dict) and asked.get("attempt") == attempt

    # ------------------------------------------------------------ isolation

    def level(self, template: Template, wanted: str) -> str:
        """The level of isolation of a job of this template.

        Raises:
            SandboxUnavailable: it does not work here, or is less than what is required.
        """
        least = max(template.sandbox.require_level, self.settings.require_level)
        if wanted == "auto":
            wanted = self.settings.sandbox
        return self.sandboxing.choose(wanted, least)

    def why_not_shut_in(self, idea: Idea) -> str | None:
        """Why the idea's runs are in no sandbox, where nobody has asked for that; None where all is well."""
        asked = {idea.sandbox, self.settings.sandbox} - {"auto"}
        if asked or self.level(idea.template, idea.sandbox) != "L0":
            return None
        reasons = self.sandboxing.why_not_higher("L0")
        return f"the run had no sandbox, since none works here: {reasons}"

    # ------------------------------------------------------------ history

    def history(self, idea: Idea) -> History:
        stored = read_json(self.paths(idea).history)
        return History.model_validate(stored) if stored is not None else History()

    def save_history(self, idea: Idea, history: History) -> None:
        write_json(self.paths(idea).history, history)

    def say(self, idea: Idea, reply: str, message: str, *, key: str) -> History:
        """Add the agent's reply and the runner's answer to the history. Repeatable under the same key."""
        history = self.history(idea)
        pending = history.pending
        said = pending is not None and any(
            isinstance(block, Text) and block.key == key for block in pending.blocks
        )
        if reply.strip() and not said:
            history = history.with_reply(reply)
        history = history.with_user(message, key=key)
        self.save_history(idea, history)
        return history

    # ------------------------------------------------------------ models

    def machine(self, template: Template) -> models.Machine:
        """What decides which models a job of this template can use here.

        Of a GPU all of its memory counts, or the part that the template asks for: it is lent when it is empty.
        """
        share = min(template.resources.gpus, 1.0)
        sizes = [gpu.total_memory_bytes for gpu in self.desk.gpus] if share else []
        here = models.Machine.here(downloads=self.settings.downloads)
        return replace(here, gpu_free_bytes=int(max(sizes) * share) if sizes else None)
