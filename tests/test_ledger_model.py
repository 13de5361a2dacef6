"""Any order of steps, with crashes in between: the ledger says what a model of it says."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent_runner.errors import IdempotencyConflict
from agent_runner.ledger import UNCHARGED_PER_RUN, Ledger

replies = st.sampled_from(["a", "b", "c"])
keys = st.sampled_from([None, "k1", "k2", "k3"])


@dataclass
class Attempt:
    reply: str
    key: str | None
    charged: bool | None = None


@dataclass
class Model:
    """What the ledger should hold."""

    max_runs: int
    attempts: list[Attempt] = field(default_factory=list)
    runs: list[tuple[int, str]] = field(default_factory=list)  # attempt, state

    @property
    def used(self) -> int:
        return sum(state != "refunded" for _, state in self.runs)

    def open_attempts(self) -> list[int]:
        """Attempts that may still reserve a run."""
        with_run = {attempt for attempt, _ in self.runs}
        return [
            n
            for n, attempt in enumerate(self.attempts, 1)
            if attempt.charged is None and n not in with_run
        ]


class LedgerMachine(RuleBasedStateMachine):
    @initialize(max_runs=st.integers(1, 4))
    def start(self, max_runs: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.ledger = Ledger(Path(self.folder.name) / "ledger.sqlite3")
        self.ledger.ensure()
        self.ledger.add_idea("idea", "An idea", max_runs)
        self.model = Model(max_runs)

    @rule(reply=replies, key=keys)
    def begin(self, reply: str, key: str | None) -> None:
        known = next(
            (n for n, a in enumerate(self.model.attempts, 1) if key and a.key == key), None
        )
        if known is not None and self.model.attempts[known - 1].reply != reply:
            with pytest.raises(IdempotencyConflict):
                self.ledger.begin_attempt("idea", reply, key)
            return
        row = self.ledger.begin_attempt("idea", reply, key)
        if known is None:
            self.model.attempts.append(Attempt(reply, key))
        assert row.number == (known or len(self.model.attempts))
        assert row.charged is self.model.attempts[row.number - 1].charged

    @precondition(lambda self: self.model.open_attempts())
    @rule(data=st.data())
    def reserve(self, data: Any) -> None:
        attempt = data.draw(st.sampled_from(self.model.open_attempts()))
        number = self.ledger.reserve_run("idea", attempt=attempt, tree="t", commit="c")
        assert (number is None) == (self.model.used >= self.model.max_runs)
        if number is not None:
            self.model.runs.append((attempt, "reserved"))
            assert number == len(self.model.runs)

    @precondition(lambda self: self.model.runs)
    @rule(data=st.data(), charged=st.booleans())
    def settle_run(self, data: Any, charged: bool) -> None:
        number = data.draw(st.integers(1, len(self.model.runs)))
        self.ledger.settle_run("idea", number, charged=charged, outcome="x", reason="x")
        attempt, state = self.model.runs[number - 1]
        if state == "reserved":
            self.model.runs[number - 1] = (attempt, "spent" if charged else "refunded")

    @precondition(lambda self: self.model.attempts)
    @rule(data=st.data())
    def settle_attempt(self, data: Any) -> None:
        number = data.draw(st.integers(1, len(self.model.attempts)))
        states = [state for attempt, state in self.model.runs if attempt == number]
        if states == ["reserved"]:
            return
        charged = states == ["spent"]
        self.ledger.settle_attempt(
            "idea", number, stage="done", charged=charged, reason="x", tree=None
        )
        self.model.attempts[number - 1].charged = charged

    @rule()
    def crash(self) -> None:
        """Another process goes on; the object of the first one is never closed."""
        self.ledger = Ledger(self.ledger.path)

    @rule()
    def end_and_start(self) -> None:
        self.ledger.close()

    @invariant()
    def says_the_same(self) -> None:
        account = self.ledger.account("idea")
        assert [(r.number, r.attempt, r.state) for r in account.runs] == [
            (n, attempt, state) for n, (attempt, state) in enumerate(self.model.runs, 1)
        ]
        assert [(a.number, a.reply_sha256, a.key, a.charged) for a in account.attempts] == [
            (n, a.reply, a.key, a.charged) for n, a in enumerate(self.model.attempts, 1)
        ]
        uncharged = sum(a.charged is False for a in self.model.attempts)
        budget = self.ledger.budget("idea")
        assert budget.used == self.model.used <= budget.max_runs == self.model.max_runs
        bound = UNCHARGED_PER_RUN * self.model.max_runs
        assert budget.attempts_left == max(0, bound - uncharged)

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()


TestLedgerModel = LedgerMachine.TestCase
TestLedgerModel.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
