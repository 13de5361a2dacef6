"""May this code run? Checks that need no process: the command contract and the files that must compile."""

from agent_runner.validation.contract import check_contract
from agent_runner.validation.static import check_static

__all__ = ["check_contract", "check_static"]
