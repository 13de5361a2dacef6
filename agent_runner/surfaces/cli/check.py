"""`agent-runner check`: what is suspicious about a result file, by itself and beside a baseline's."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent_runner.errors import UsageError
from agent_runner.surfaces.cli.options import JsonOption, reported
from agent_runner.surfaces.cli.output import Exit, data, print_json, print_text

if TYPE_CHECKING:
    from agent_runner.records import Finding
    from agent_runner.results import ResultFile

_STYLES = {"fail": "red", "warn": "yellow", "info": "cyan"}


def check(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A final_info.json of any template, or its run_i folder; - for stdin.",
        ),
    ],
    against: Annotated[
        str | None,
        typer.Option(metavar="BASELINE_FILE", help="The baseline's file, to hold it against."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Can a result's numbers be believed? Lists what is suspicious about them, in words.

    Exit codes: 0 no finding is a `fail`, 2 there is no such file, 4 the numbers say nothing.
    """
    from agent_runner.results import check_results, flat_metrics, is_degenerate

    with reported(as_json):
        if file == against == "-":
            raise UsageError("Standard input can be read once", "Give at most one of both as -.")
        baseline = _usable(against, _read(against)) if against is not None else None
        result = _read(file)
        findings = (
            _refused(file, result) if result.info is None else check_results(result.info, baseline)
        )
        degenerate = is_degenerate(findings)
        if as_json:
            answer: dict[str, Any] = {
                "file": file,
                "against": against,
                "sha256": result.sha256,
                "degenerate": degenerate,
                "metrics": flat_metrics(result.info or {}),
                "findings": [finding.model_dump() for finding in findings],
            }
            print_json(answer)
        else:
            _print(findings)
            print_text(_summary(findings))
        raise typer.Exit(Exit.REFUSED if degenerate else Exit.OK)


def _read(source: str) -> ResultFile:
    from agent_runner.results import read_result_bytes, read_result_file

    if source == "-":
        return read_result_bytes(sys.stdin.buffer, "standard input")
    return read_result_file(Path(source))


def _usable(source: str, found: ResultFile) -> dict[str, Any]:
    if found.info is None:
        why = found.problem.message if found.problem else source
        raise UsageError(f"The baseline cannot be read: {why}", "Give its final_info.json.")
    return found.info


def _refused(source: str, found: ResultFile) -> tuple[Finding, ...]:
    """A file that is there and cannot be used has failed the first check; one that is not is a mistake."""
    from agent_runner.records import Finding

    problem = found.problem
    if problem is None or problem.kind == "results_missing":
        why = problem.message if problem else source
        raise UsageError(
            why, "Give a final_info.json, the run_i folder that holds it, or - for stdin."
        )
    return (Finding(severity="fail", code=problem.kind, message=problem.message[:600]),)


def _print(findings: Sequence[Finding]) -> None:
    """A table on a terminal, a line each in a pipe."""
    from rich.markup import escape
    from rich.table import Table

    if not data.is_terminal:
        for finding in findings:
            print_text(f"{finding.severity:<4}  {finding.code:<22} {finding.message}")
        return
    table = Table("", "code", "what it means", box=None, pad_edge=False)
    for finding in findings:
        style = _STYLES[finding.severity]
        severity = f"[{style}]{finding.severity}[/{style}]"
        table.add_row(severity, finding.code, escape(finding.message))
    if findings:
        data.print(table)


def _summary(findings: Sequence[Finding]) -> str:
    counts = {severity: 0 for severity in _STYLES}
    for finding in findings:
        counts[finding.severity] += 1
    if counts["fail"]:
        what = (
            "1 finding is a fail" if counts["fail"] == 1 else f"{counts['fail']} findings are fails"
        )
        return f"{what}: these numbers say nothing about the experiment, or cannot be compared."
    if counts["warn"]:
        return "Nothing forbids to use these numbers; read them with the warnings in mind."
    return "Nothing suspicious was found."
