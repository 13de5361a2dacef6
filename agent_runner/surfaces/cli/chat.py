"""`agent-runner import-chat`: what a recorded conversation holds, and its replies played again here."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from agent_runner.chatlogs import ChatLog, RecordedReply, parse_chat_log
from agent_runner.errors import UsageError
from agent_runner.surfaces.cli.options import (
    HomeOption,
    JsonOption,
    open_runner,
    read_input,
    reported,
)
from agent_runner.surfaces.cli.output import notes, print_json, print_text, watching

DEFAULT_MAX_RUNS = 10  # where a log does not state its budget
_REPLACE_MARKER = re.compile(r"^>{5,9} REPLACE\s*$", re.MULTILINE)


def import_chat(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="An aider chat log; - for stdin.")],
    replay: Annotated[
        bool, typer.Option("--replay", help="Run every reply through the runner, as a new idea.")
    ] = False,
    recorded_baseline: Annotated[
        bool,
        typer.Option(
            "--recorded-baseline",
            help="With --replay: compare with the log's own baseline. One that is worth nothing is refused.",
        ),
    ] = False,
    template: Annotated[str, typer.Option(help="A template folder, or `default`.")] = "default",
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A model of the template that it may use; repeat for more. Default: all."
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read an aider chat log: its idea, its baseline, each reply and what became of it."""
    with reported(as_json):
        log = parse_chat_log(read_input(file))
        recorded = describe(log)
        if not replay:
            print_json({"recorded": recorded}) if as_json else _print_recorded(recorded)
            return
        if recorded_baseline and log.baseline is None:
            raise UsageError(
                f"the log has no baseline that can be used: {log.baseline_problem or 'none is stated'}",
                "Leave out --recorded-baseline: then the template's own is measured.",
            )
        runner = open_runner(context, home)
        idea = runner.create_idea(
            log.title,
            template=template,
            plan=plan_text(log),
            max_runs=log.max_runs or DEFAULT_MAX_RUNS,
            models=model or (),
            baseline=log.baseline if recorded_baseline else None,
        )
        if not as_json:
            _print_recorded(recorded)
        observations = []
        with watching() as watch:
            baseline = runner.baseline(idea.id, progress=watch)
            for reply in log.replies:
                observations.append(runner.propose(idea.id, reply.text, progress=watch))
    if as_json:
        print_json(
            {
                "idea": idea.id,
                "recorded": recorded,
                "baseline": baseline.model_dump(mode="json"),
                "observations": [o.model_dump(mode="json") for o in observations],
            }
        )
        return
    print_text(f"\nReplayed here as {idea.id}:\n\n{baseline.message}")
    for observation in observations:
        print_text(f"\n--- reply {observation.attempt}\n{observation.message}")


def describe(log: ChatLog) -> dict[str, Any]:
    """A recorded conversation as data: what was asked, what was answered, what came of it."""
    from agent_runner.results import check_results, is_degenerate

    findings = check_results(log.baseline) if log.baseline is not None else ()
    return {
        "started": log.started,
        "title": log.title,
        "plan": plan_text(log),
        "max_runs": log.max_runs,
        "baseline": {
            "present": log.baseline is not None,
            "problem": log.baseline_problem,
            "degenerate": is_degenerate(findings),
            "findings": [finding.model_dump() for finding in findings],
        },
        "replies": [_reply(reply) for reply in log.replies],
    }


def _reply(reply: RecordedReply) -> dict[str, Any]:
    """One reply and what came of it then: applied?, run again without a change?, refused by the API?"""
    return {
        "line": reply.line,
        "characters": len(reply.text),
        "blocks": len(_REPLACE_MARKER.findall(reply.text)),
        "applied": list(reply.applied),
        "edit_error": reply.edit_error,
        "failed_runs": len(reply.failures),
        "shown_to_the_model": reply.failures[0] if reply.failures else None,
        "completed_runs": reply.completed,
        "unchanged_reruns": reply.reruns,
        "api_errors": len(reply.api_errors),
        "api_error": reply.api_errors[0] if reply.api_errors else None,
    }


def plan_text(log: ChatLog) -> str:
    """The idea's experiment and plan as the agent was given them."""
    parts = []
    if log.experiment:
        parts.append(f"Experiment:\n{log.experiment}")
    if log.plan:
        parts.append(f"Plan:\n{log.plan}")
    return "\n\n".join(parts)


def _print_recorded(recorded: dict[str, Any]) -> None:
    print_text(f"Recorded {recorded['started']}: {recorded['title']}")
    for number, reply in enumerate(recorded["replies"], 1):
        words = [f"reply {number}: {reply['blocks']} blocks"]
        words.append("applied" if reply["applied"] else "not applied")
        for key, text in (
            ("failed_runs", "failed runs"),
            ("unchanged_reruns", "starts of unchanged code"),
            ("api_errors", "refusals by the model's API"),
        ):
            if reply[key]:
                words.append(f"{reply[key]} {text}")
        print_text("  " + ", ".join(words))
    findings = recorded["baseline"]["findings"]
    if findings:
        print_text("Its own baseline:")
        for finding in findings:
            print_text(f"  {finding['severity']:<4}  {finding['code']:<18} {finding['message']}")
    if recorded["baseline"]["degenerate"]:
        notes.print("That baseline cannot be compared with; it is measured anew here.")
