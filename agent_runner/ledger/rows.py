"""What the ledger says, as values: an idea's budget, its attempts and its runs."""

from __future__ import annotations

from dataclasses import dataclass

# Uncharged attempts allowed per run of budget, so that nothing loops for ever at no cost.
UNCHARGED_PER_RUN = 3


@dataclass(frozen=True)
class BudgetState:
    """`used` counts reserved and spent runs; `attempts_left` bounds proposals that cost nothing."""

    max_runs: int
    used: int
    attempts_left: int

    @property
    def left(self) -> int:
        return self.max_runs - self.used


@dataclass(frozen=True)
class IdeaRow:
    """One idea and its bounds. Times are ISO-8601 UTC."""

    id: str
    title: str
    max_runs: int
    max_uncharged: int
    created: str


@dataclass(frozen=True)
class AttemptRow:
    """One attempt as the ledger knows it. `stage` is None while it is open."""

    number: int
    key: str | None
    tree: str | None
    stage: str | None
    charged: bool | None
    reason: str | None
    reply_sha256: str
    created: str
    settled: str | None = None


@dataclass(frozen=True)
class RunRow:
    """One run as the ledger knows it. `state` is `reserved`, `spent` or `refunded`; `cost` 0 or 1."""

    number: int
    attempt: int | None
    tree: str
    commit: str
    state: str
    outcome: str | None
    reason: str | None
    cost: int
    created: str
    settled: str | None = None


@dataclass(frozen=True)
class Account:
    """Everything the ledger holds of one idea, read in one transaction."""

    idea: IdeaRow
    attempts: tuple[AttemptRow, ...] = ()
    runs: tuple[RunRow, ...] = ()
