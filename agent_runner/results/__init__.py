"""What a run measured: strict reading of `final_info.json`, flat metrics, comparison, sanity checks.

All of it is pure, but for the one reader.
"""

from agent_runner.results.checks import check_results, is_degenerate
from agent_runner.results.metrics import compare, flat_metrics
from agent_runner.results.reading import ResultFile, read_results

__all__ = [
    "ResultFile",
    "check_results",
    "compare",
    "flat_metrics",
    "is_degenerate",
    "read_results",
]
