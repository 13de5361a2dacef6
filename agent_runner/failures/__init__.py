"""Why a job failed: its evidence in, a `Failure` out. Pure: no file, no process, no clock.

`diagnose` reads the end of a job that the runner watched, `explain_log` a saved log. `charges` is the
table of what a failure costs, `KINDS` the closed list of kinds; `clean_output` is the readable view of a
log, `interleave` that of both streams in their order.
"""

from agent_runner.failures.charging import KINDS, Circumstance, charges
from agent_runner.failures.diagnosis import diagnose, explain_log
from agent_runner.failures.evidence import Evidence
from agent_runner.failures.interleaving import interleave
from agent_runner.failures.text import clean_output, printable, shorten, without_secrets

__all__ = [
    "KINDS",
    "Circumstance",
    "Evidence",
    "charges",
    "clean_output",
    "diagnose",
    "explain_log",
    "interleave",
    "printable",
    "shorten",
    "without_secrets",
]
