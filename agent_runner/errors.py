"""Everything this package raises on purpose.

A failed experiment, a refused edit and an exhausted budget are *data* (`Observation`); they are never raised.
Only misuse and broken machines raise:

    AgentRunnerError
    ├── UsageError              the caller asked for something that cannot be done as asked
    │   ├── UnknownIdea         no idea of that name in this home
    │   ├── UnknownRun          the idea has no such run
    │   ├── BaselineRefused     a baseline that was handed in is worth nothing
    │   ├── TemplateError       the folder does not keep the template contract
    │   ├── ChatLogError        the file is not a chat log that can be read
    │   ├── IdempotencyConflict the same key was used for another reply
    │   └── HistoryError        a message list that cannot be taken as it is (`agent_runner.history`)
    └── MachineError            the machine, not the caller, stands in the way
        ├── GitError            git is missing or refused a command
        ├── LedgerError         the ledger cannot be read or written
        ├── ExecutorError       a run could not be started at all
        ├── SandboxUnavailable  the isolation that was asked for does not work here
        └── ModelUnavailable    none of the models that may be used can be used here

Every error carries what to do next (`remedy`), and the command line shows both.
"""

from __future__ import annotations


class AgentRunnerError(Exception):
    """Base of all errors raised by this package.

    `message` says what happened and why, `remedy` what to do next. No error ever means that budget was
    charged: charging is reported only in an `Observation`.
    """

    code = "error"

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class UsageError(AgentRunnerError):
    """The caller asked for something that cannot be done as asked."""

    code = "usage"


class UnknownIdea(UsageError):
    """There is no idea of that name in this home."""

    code = "unknown_idea"


class UnknownRun(UsageError):
    """The idea has no run of that number."""

    code = "unknown_run"


class BaselineRefused(UsageError):
    """The baseline that was handed in says nothing that a run could be compared with."""

    code = "baseline_refused"


class TemplateError(UsageError):
    """The folder does not keep the template contract (`experiment.py`, a readable `template.toml`)."""

    code = "template"


class ChatLogError(UsageError):
    """The file is not a chat log that can be read."""

    code = "chat_log"


class IdempotencyConflict(UsageError):
    """The idempotency key was used before, for a different reply."""

    code = "idempotency_conflict"


class MachineError(AgentRunnerError):
    """The machine, not the caller, stands in the way."""

    code = "machine"


class GitError(MachineError):
    """git is missing or refused a command."""

    code = "git"


class LedgerError(MachineError):
    """The ledger cannot be read or written."""

    code = "ledger"


class ExecutorError(MachineError):
    """A run could not be started at all."""

    code = "executor"


class SandboxUnavailable(MachineError):
    """The level of isolation that was asked for does not work on this machine, or is less than required."""

    code = "sandbox"


class ModelUnavailable(MachineError):
    """None of the language models that may be used can be used on this machine."""

    code = "model_unavailable"
