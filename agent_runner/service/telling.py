"""The words an agent reads: the task at the start, and one message after each proposal. Pure text.

Every message says what happened, why, what to do next, and whether it cost a run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from agent_runner.history import fence_output
from agent_runner.models import in_words
from agent_runner.records import (
    Budget,
    Comparison,
    Failure,
    Finding,
    Idea,
    Location,
    MetricDifference,
    ModelUse,
    Outcome,
    Problem,
    RunResult,
    Verification,
)
from agent_runner.results.findings import listed
from agent_runner.results.metrics import without_noise
from agent_runner.results.noise import known_scatter, why_not_known

_MAX_FILE_CHARACTERS = 120_000
_MAX_METRICS = 40
_MAX_VALUES = 8

_FORM = """\
Name the file on a line of its own, then give one block per change; SEARCH must be a copy of whole lines
of the file as it is now, and must occur there once:

experiment.py
```python
<<<<<<< SEARCH
lines to replace
=======
new lines
>>>>>>> REPLACE
```

All blocks of one reply are applied together or not at all. An edit that was applied stays applied, also
when its run fails: your next edit starts from the file as it is then."""


def brief(idea: Idea, files: Mapping[str, str]) -> str:
    """The first user turn: the idea, the rules, the command, and the files as they are."""
    template = idea.template
    parts = [f"# Idea: {idea.title}"]
    if idea.plan.strip():
        parts.append(idea.plan.strip())
    parts.append(
        f"You may use up to {idea.max_runs} runs. After each proposal that passes its checks this is run, "
        f"with i the number of the run and no further arguments:\n\n"
        f"    {template.command.format(out_dir='run_i')}\n\n"
        "It has to write run_i/final_info.json. The baseline (run_0) is made for you and costs nothing."
    )
    locked = (
        f" Locked, and restored before every run: {', '.join(template.locked)}."
        if template.locked
        else ""
    )
    parts.append(f"You may edit: {', '.join(template.editable)}.{locked}\n\n{_FORM}")
    parts.append(
        "A proposal that is refused, or whose fault is found before the run, costs no run. Neither does code "
        "that was already run: you get the earlier result instead."
    )
    parts.extend(f"{name}\n{_fenced(text, name)}" for name, text in files.items())
    return "\n\n".join(parts)


def baseline_note(run: RunResult) -> str:
    """What the agent is told of the baseline."""
    if run.outcome is not Outcome.SUCCEEDED:
        why = f"\n\n{failure_text(run.failure)}" if run.failure else ""
        return f"The baseline (run_0) did not succeed ({run.outcome}). Runs go on without a comparison.{why}"
    lines = ["Baseline results (run_0):", "", *_metric_lines(run)]
    lines += _noise_lines(run) + _model_lines(run.model) + _finding_lines(run.findings)
    return "\n".join(lines)


def refusal(problems: Sequence[Problem], budget: Budget) -> str:
    """For a proposal that was not applied, or may not be run, for reasons that are not a failure."""
    lines = [_problem_line(problem) for problem in problems]
    return "\n".join([*lines, "", budget_line(budget)])


def found_faults(problems: Sequence[Problem], commit: str, budget: Budget) -> str:
    """For an edit whose faults were seen without running it: errors, then warnings beside them."""
    opening = f"Your edit was applied (commit {commit[:10]}), but the code would fail, so no run was started:"
    lines = [f"- {_problem_line(problem)}" for problem in problems]
    closing = "Your edit is still in the file: send an edit that mends it."
    return "\n\n".join([opening, "\n".join(lines), f"{closing}\n{budget_line(budget)}"])


def check_failure(
    step: str, failure: Failure, doubts: Sequence[Problem], commit: str, budget: Budget
) -> str:
    """For a fault found before the run, and what was doubtful beside it."""
    opening = f"Your edit was applied (commit {commit[:10]}), but {step} found a fault, so no run was started."
    told = "\n".join(_problem_line(problem) for problem in doubts)
    closing = "Your edit is still in the file: send an edit that mends it."
    parts = [opening, failure_text(failure), told, f"{closing}\n{budget_line(budget)}"]
    return "\n\n".join(part for part in parts if part)


def already_run(run: RunResult, budget: Budget) -> str:
    """For code that this idea has run before."""
    name = "the baseline (run_0)" if run.index == 0 else f"run_{run.index}"
    opening = (
        f"Nothing was run: with this edit the code is exactly that of {name}, whose result stands. "
        "Running it again would measure nothing new."
    )
    return "\n\n".join([opening, describe_run(run), budget_line(budget)])


def keeps_failing(runs: Sequence[RunResult], budget: Budget) -> str:
    """For code whose runs were all ended by something that is not its own doing."""
    opening = (
        f"Nothing was run: this code was run {len(runs)} times (last as run_{runs[-1].index}), and each time "
        "something else than the code ended the run. Running it again is of no use until a person has looked "
        "at the machine; other code may run."
    )
    return "\n\n".join([opening, describe_run(runs[-1]), budget_line(budget)])


def run_report(run: RunResult, problems: Sequence[Problem], budget: Budget, output: str) -> str:
    """For a proposal whose run has ended, well or badly."""
    parts = [describe_run(run)]
    if run.failure is not None and output.strip():
        parts.append("End of its output:\n" + fence_output(output, f"run_{run.index}", 3_000))
    if problems:
        parts.append("\n".join(_problem_line(problem) for problem in problems))
    parts.append(budget_line(budget))
    return "\n\n".join(parts)


def verification(found: Verification) -> str:
    """What a run with moved seeds says of the run it repeats."""
    ended = {
        Outcome.CANCELLED: "this was cancelled, and shows nothing",
        Outcome.NOT_STARTED: "it could not be started, and shows nothing",
    }
    verdicts = {
        "moves": "its numbers move with the seeds, as measured numbers do",
        "hard_coded": "its numbers do not come from what it computes",
        "doubtful": "its numbers move, but not all is well",
        "undecided": "this proves nothing (the findings say why)",
        "failed": ended.get(found.outcome, "with other seeds it did not run to its end"),
    }
    places = [f"{seed.file}:{seed.line} {seed.value} -> {seed.moved}" for seed in found.seeds]
    moved = ", ".join(places[:_MAX_VALUES]) or "none is written in the files that may be edited"
    lines = [
        f"run_{found.run} again, its seeds moved by {found.offset}: {verdicts[found.verdict]}.",
        f"Seeds in the code: {moved}.",
    ]
    if found.comparison is not None:
        values = {name: pair.value for name, pair in found.comparison.metrics.items()}
        lines += ["", *_comparison_lines(values, found.comparison.metrics, f"run_{found.run}")]
        lines += _unknown_noise_lines(found.comparison)
    if found.failure is not None:
        lines += ["", failure_text(found.failure)]
    lines += [*_finding_lines(found.findings), "", "This used no run."]
    return "\n".join(lines)


def budget_line(budget: Budget) -> str:
    """One line that ends every message."""
    charged = "This used one run" if budget.charged else "This used no run"
    plural = "run is" if budget.left == 1 else "runs are"
    line = f"{charged}: {budget.reason}. {budget.left} of {budget.max_runs} {plural} left"
    if budget.attempts_left <= budget.max_runs:
        line += f", and {budget.attempts_left} more proposals that cost nothing"
    return line + "."


def describe_run(run: RunResult) -> str:
    """A run in words: how it ended, why, what it measured."""
    name = "Baseline (run_0)" if run.index == 0 else f"run_{run.index}"
    lines = [f"{name} {_outcome_words(run)} after {run.seconds:.1f} s (commit {run.commit[:10]})."]
    lines += _model_lines(run.model)
    if run.failure is not None:
        lines += ["", failure_text(run.failure)]
    if run.metrics:
        lines += ["", *_metric_lines(run)]
    lines += _finding_lines(run.findings)
    return "\n".join(lines)


def failure_text(failure: Failure) -> str:
    """A failure in words: cause, place, values, what led to it, what to do."""
    exception = f"{failure.exception_type}: " if failure.exception_type else ""
    lines = [f"Cause ({failure.kind}): {exception}{failure.message}"]
    if failure.location is not None:
        place = failure.location
        where = place.file + (f":{place.line}" if place.line else "")
        inside = f" in {place.function}" if place.function else ""
        lines.append(f"Where: {where}{inside}" + (f"\n    {place.code}" if place.code else ""))
        lines += _value_lines(place)
    if failure.phase:
        lines.append(f"Phase: {failure.phase}")
    lines += _chain_lines(failure)
    if failure.remedy:
        lines.append(f"What to do: {failure.remedy}")
    return "\n".join(lines)


def _outcome_words(run: RunResult) -> str:
    words = {
        Outcome.SUCCEEDED: "succeeded",
        Outcome.FAILED: "failed",
        Outcome.TIMED_OUT: "ran out of time",
        Outcome.CANCELLED: "was cancelled",
        Outcome.KILLED: f"was killed by {run.signal or 'a signal'}, not by the runner,",
        Outcome.LOST: "was lost (its supervisor died)",
        Outcome.NOT_STARTED: "could not be started",
    }
    return words[run.outcome]


def _metric_lines(run: RunResult) -> list[str]:
    """A table of metrics, beside the baseline's where there is a comparison."""
    if run.comparison is None:
        return _comparison_lines(run.metrics, {})
    lines = _comparison_lines(run.metrics, run.comparison.metrics)
    return lines + _unknown_noise_lines(run.comparison)


def _unknown_noise_lines(comparison: Comparison) -> list[str]:
    """Says of which differences nobody knows whether unchanged code would show them too, and why."""
    if comparison.noise_problem is None:
        return []
    why = _one_line(comparison.noise_problem)
    if all(pair.noise is None for pair in comparison.metrics.values()):
        return [f"Noise is not known: {why}."]
    names = listed(without_noise(comparison.metrics), at_most=_MAX_VALUES)
    return [f"Noise is not known for: {names} ({why})."]


def _comparison_lines(
    metrics: Mapping[str, float],
    compared: Mapping[str, MetricDifference],
    other: str = "baseline",
) -> list[str]:
    """Metrics beside another run's, in its noise; those that are the same are only named."""
    same = [name for name in metrics if name in compared and compared[name].difference == 0]
    names = [name for name in metrics if name not in same][:_MAX_METRICS]
    whose = "the baseline" if other == "baseline" else other
    if not names:
        return [f"All {len(same)} metrics are exactly those of {whose}."]
    width = max(len(name) for name in names)
    header = f"{'metric':<{width}}  {'value':>10}"
    if compared:
        header += f"  {other:>10}  {'difference':>10}"
    lines = [header]
    for name in names:
        line = f"{name:<{width}}  {metrics[name]:>10.4g}"
        if name in compared:
            pair = compared[name]
            line += f"  {pair.baseline:>10.4g}  {pair.difference:>+10.4g}{_in_noise(pair)}"
        lines.append(line)
    if len(metrics) > len(names) + len(same):
        more = len(metrics) - len(names) - len(same)
        lines.append(f"... and {more} more in final_info.json")
    if same:
        lines.append(f"Exactly as in {whose}: {', '.join(same[:_MAX_METRICS])}.")
    if any(pair.noise_units is not None for pair in compared.values()):
        lines.append(
            "(x noise: in standard deviations of the difference of two runs of unchanged code; `within noise`: "
            "as large a difference is to be expected without any edit.)"
        )
    return lines


def _in_noise(pair: MetricDifference) -> str:
    if pair.noise_units is None:
        return ""
    note = ", within noise" if pair.within_noise else ""
    return f"  ({pair.noise_units:+.1f} x noise{note})"


def _noise_lines(run: RunResult) -> list[str]:
    """How far a baseline's metrics scatter."""
    if run.noise is None:
        return []
    if (why := why_not_known(run.noise)) is not None:
        return [f"Noise is not known: {_one_line(why)}."]
    scatter = {name: found for name, found in known_scatter(run.noise).items() if found.std > 0}
    shown = ", ".join(
        f"{name} {found.std:.2g}" for name, found in list(scatter.items())[:_MAX_METRICS]
    )
    lines = [
        f"Noise: standard deviations over {len(run.noise.seeds)} runs of unchanged code with different seeds: "
        f"{shown}."
    ]
    return lines + ([f"Not all were measured: {run.noise.problem}."] if run.noise.problem else [])


def _model_lines(model: ModelUse | None) -> list[str]:
    if model is None:
        return []
    if model.requested == model.granted:
        return [f"Language model: {model.granted}."]
    why = in_words(model.reason, model.remedy)
    return [f"Language model: {model.granted}, instead of {model.requested}: {why}"]


def _finding_lines(findings: Sequence[Finding]) -> list[str]:
    lines = [f"{finding.severity:<4}  {finding.code}: {finding.message}" for finding in findings]
    return ["", "Findings:", *lines] if lines else []


def _chain_lines(failure: Failure) -> list[str]:
    """The other exceptions of the chain: those that the deciding one led to, and those that led to it."""
    chain = failure.cause_chain
    decisive = [
        at
        for at, cause in enumerate(chain)
        if cause.type == failure.exception_type
        and (not cause.message or cause.message[:80] == failure.message[:80])
    ]
    at = decisive[0] if decisive else 0
    after = [f"Which led to: {cause.type}: {cause.message}" for cause in reversed(chain[:at])]
    before = [f"Because of: {cause.type}: {cause.message}" for cause in chain[at + 1 :]]
    return after + before


def _value_lines(place: Location) -> list[str]:
    """What the variables were there: those that the line itself mentions, else all that are known."""
    words = set(re.findall(r"\w+", place.code or ""))
    mentioned = [
        name for name in place.locals if name.rpartition(".")[2] in words and name != "self"
    ]
    shown = (mentioned or list(place.locals))[:_MAX_VALUES]
    return ["With:", *(f"    {name} = {place.locals[name]}" for name in shown)] if shown else []


def _one_line(text: str) -> str:
    """A reason as the end of a sentence."""
    return " ".join(text.split()).rstrip(".")


def _problem_line(problem: Problem) -> str:
    prefix = "Warning: " if problem.severity == "warning" else ""
    return f"{prefix}{problem.message}"


def _fenced(text: str, name: str) -> str:
    cut = text[:_MAX_FILE_CHARACTERS]
    note = "" if len(cut) == len(text) else f"\n... ({len(text) - len(cut)} characters left out)"
    fence = "```"
    while fence in cut:
        fence += "`"
    language = "python" if name.endswith(".py") else ""
    return f"{fence}{language}\n{cut}{note}\n{fence}"
