"""What a run measured: strict reading of `final_info.json`, flat metrics, comparison, sanity checks.

All of it is pure, but for the one reader.
"""

from agent_runner.results.checks import check_comparison, check_results, is_degenerate
from agent_runner.results.earlier_runs import check_history
from agent_runner.results.metrics import compare, flat_metrics
from agent_runner.results.noise import noise_floor
from agent_runner.results.reading import (
    ResultFile,
    read_result_bytes,
    read_result_file,
    read_results,
)
from agent_runner.results.reseeded import check_seed

__all__ = [
    "ResultFile",
    "check_comparison",
    "check_history",
    "check_results",
    "check_seed",
    "compare",
    "flat_metrics",
    "is_degenerate",
    "noise_floor",
    "read_result_bytes",
    "read_result_file",
    "read_results",
]
