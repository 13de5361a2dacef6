"""The ledger: what may happen next. Ideas, attempts, runs and the budget, in one SQLite file.

Files and git record what happened; this file alone decides what is allowed. A run is *reserved* in the
same transaction that checks the budget, before anything is started, and *settled* afterwards: spent, or
refunded with the reason. One lock lets one transaction of all processes at the file at a time; WAL with
`synchronous=FULL` means that what was acknowledged survives a power cut.
"""

from agent_runner.ledger.ledger import Ledger
from agent_runner.ledger.rows import (
    UNCHARGED_PER_RUN,
    Account,
    AttemptRow,
    BudgetState,
    IdeaRow,
    RunRow,
)

__all__ = [
    "UNCHARGED_PER_RUN",
    "Account",
    "AttemptRow",
    "BudgetState",
    "IdeaRow",
    "Ledger",
    "RunRow",
]
