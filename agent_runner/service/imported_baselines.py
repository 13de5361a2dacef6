"""A baseline that was measured elsewhere: checked like any result, and run_0 only if it is one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agent_runner.errors import BaselineRefused
from agent_runner.paths import write_atomic, write_json
from agent_runner.records import Finding, Idea, ModelUse, Outcome, RunResult
from agent_runner.results import check_results, flat_metrics, is_degenerate
from agent_runner.results.parsing import InvalidResults, parse_results
from agent_runner.service.measuring import IMPORTED
from agent_runner.service.workspace import Workspace

_NOTE = Finding(
    severity="info",
    code="imported",
    message="this baseline was measured elsewhere: on which machine, with which versions and after how many "
    "seeds is not known here, so there is no noise floor. Of SAE results the evaluation's settings and the "
    "language model's own probes have to agree; other results are compared as they stand",
)


def check_import(info: Mapping[str, Any]) -> tuple[Finding, ...]:
    """The findings on a baseline that is handed in; nothing is stored.

    Raises:
        BaselineRefused: it has no numbers, or they say nothing: with the reasons.
    """
    try:
        parsed = parse_results(json.dumps(info).encode())
    except (InvalidResults, TypeError, ValueError, RecursionError) as error:
        raise BaselineRefused(
            f"the baseline cannot be read: {error}",
            "Give the parsed content of a final_info.json, or leave it out: then it is measured here.",
        ) from error
    findings = check_results(parsed)
    if is_degenerate(findings) or not flat_metrics(parsed):
        reasons = "\n".join(f"- {f.code}: {f.message}" for f in findings if f.severity != "info")
        raise BaselineRefused(
            f"nothing can be compared with this baseline, so no idea was started:\n{reasons}",
            "Leave it out: then the template's own baseline is measured here, at no cost.",
        )
    return findings


def import_baseline(workspace: Workspace, idea: Idea, info: Mapping[str, Any]) -> RunResult:
    """Make it the idea's run_0. It was checked before."""
    findings = check_import(info)
    records = workspace.paths(idea).run(0)
    result = RunResult(
        index=0,
        outcome=Outcome.SUCCEEDED,
        commit=idea.base_commit,
        tree=idea.base_tree,
        metrics=flat_metrics(info),
        findings=(*findings, _NOTE),
        model=_model(info),
        fingerprint=IMPORTED,
    )
    write_atomic(records.final_info, json.dumps(info, indent=2).encode() + b"\n")
    write_json(records.result, result)
    return result


def _model(info: Mapping[str, Any]) -> ModelUse | None:
    """The language model that the results name."""
    for section, field in (("model", "granted"), ("eval_config", "model_name")):
        group = info.get(section)
        name = group.get(field) if isinstance(group, dict) else None
        if isinstance(name, str) and name:
            return ModelUse(requested=name, granted=name)
    return None
