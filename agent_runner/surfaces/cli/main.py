"""`agent-runner`: the commands. Each translates to one call of `Runner` and prints what it returns."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from agent_runner.surfaces.cli import (
    chat,
    check,
    demo,
    doctor,
    edits,
    explain,
    gc,
    ledger,
    machine,
    models,
    play,
    verify,
)
from agent_runner.surfaces.cli.options import (
    HomeOption,
    IdeaArgument,
    JsonOption,
    open_runner,
    read_input,
    read_result_file,
    reported,
    run_number,
)
from agent_runner.surfaces.cli.output import (
    exit_code,
    notes,
    print_json,
    print_text,
    watching,
)
from agent_runner.surfaces.cli.tables import ideas_table, run_card, runs_table

app = typer.Typer(
    name="agent-runner",
    help="Runs experiments for agents: SEARCH/REPLACE proposals in, validated and budgeted runs out.\n\n"
    "Exit codes: 0 ok, 2 usage, 3 run failed, 4 proposal refused, 5 budget exhausted, 6 timed out.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
idea_app = typer.Typer(help="Start ideas.", no_args_is_help=True)
app.add_typer(idea_app, name="idea")


@app.callback()
def _common(context: typer.Context, home: HomeOption = None) -> None:
    context.obj = {"home": home}


@idea_app.command("new")
def idea_new(
    context: typer.Context,
    title: Annotated[str, typer.Option(help="A few words that name the idea.")],
    template: Annotated[str, typer.Option(help="A template folder, or `default`.")] = "default",
    plan: Annotated[str | None, typer.Option(help="A file with the plan; - for stdin.")] = None,
    max_runs: Annotated[int, typer.Option(help="The run budget.")] = 10,
    time_limit: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds a run may take.")
    ] = None,
    sandbox: Annotated[
        str, typer.Option(help="Isolation of its runs: L0 (none) to L3; auto is the highest here.")
    ] = "auto",
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A model of the template that it may use; repeat for more. Default: all."
        ),
    ] = None,
    fallback: Annotated[
        bool,
        typer.Option(help="Whether another model may replace one that cannot be used here."),
    ] = True,
    baseline: Annotated[
        Path | None,
        typer.Option(
            help="A final_info.json measured elsewhere, to be run_0. It is checked first."
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start an idea: its own git worktree, its budget, its first message."""
    with reported(as_json):
        limits = {} if time_limit is None else {"time_s": time_limit}
        idea = open_runner(context, home).create_idea(
            title,
            template=template,
            plan=read_input(plan) if plan else "",
            max_runs=max_runs,
            limits=limits,
            sandbox=sandbox,
            models=model or (),
            fallback=fallback,
            baseline=None if baseline is None else read_result_file(baseline),
        )
        if as_json:
            print_json({"idea": idea.id, **idea.model_dump(mode="json")})
        else:
            print_text(idea.id)
            notes.print(f"Next: agent-runner baseline {idea.id}", markup=False)


@app.command()
def baseline(
    context: typer.Context,
    idea: IdeaArgument,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure run_0, the template as it is. Costs nothing."""
    with reported(as_json):
        with watching() as watch:
            observation = open_runner(context, home).baseline(idea, progress=watch)
        print_json(observation) if as_json else print_text(observation.message)
        raise typer.Exit(exit_code(observation))


@app.command()
def propose(
    context: typer.Context,
    idea: IdeaArgument,
    reply: Annotated[str, typer.Option(help="The agent's whole reply: a file, - for stdin.")] = "-",
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key and reply never start a second run.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Apply a reply's edits, check them, run the experiment, and say what came of it."""
    with reported(as_json):
        text = read_input(reply)
        with watching() as watch:
            observation = open_runner(context, home).propose(
                idea, text, idempotency_key=idempotency_key, progress=watch
            )
        print_json(observation) if as_json else print_text(observation.message)
        raise typer.Exit(exit_code(observation))


@app.command()
def cancel(
    context: typer.Context,
    idea: IdeaArgument,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """End what is going on for an idea, at whatever stage it is. Only a run that had started is charged."""
    with reported(as_json):
        answer = open_runner(context, home).cancel(idea)
        print_json(answer) if as_json else print_text(answer.message)


@app.command("list")
def list_ideas(
    context: typer.Context, home: HomeOption = None, as_json: JsonOption = False
) -> None:
    """All ideas, with what is left of their budgets."""
    with reported(as_json):
        views = open_runner(context, home).ideas()
        if as_json:
            print_json({"ideas": [view.model_dump(mode="json") for view in views]})
        else:
            ideas_table(views)


@app.command()
def show(
    context: typer.Context,
    idea: IdeaArgument,
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Its number.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """An idea with its attempts and runs, or one run in full."""
    with reported(as_json):
        runner = open_runner(context, home)
        if run is None:
            view = runner.show(idea)
            print_json(view) if as_json else runs_table(view)
            return
        result = runner.run(idea, run_number(run))
        if as_json:
            print_json({"idea": idea, "run": result.model_dump(mode="json")})
        else:
            run_card(result)


@app.command()
def diff(
    context: typer.Context,
    idea: IdeaArgument,
    run: Annotated[str, typer.Argument(metavar="RUN", help="Its number.")],
    against: Annotated[str, typer.Option(help="`baseline`, or another run.")] = "baseline",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """What a run's code changed, as a unified diff."""
    with reported(as_json):
        index, other = run_number(run), run_number(against)
        text = open_runner(context, home).diff(idea, index, other)
        if as_json:
            print_json({"idea": idea, "run": index, "against": other, "diff": text})
        else:
            print_diff(text)


def print_diff(text: str) -> None:
    """Coloured on a terminal, byte for byte in a pipe."""
    from rich.syntax import Syntax

    from agent_runner.surfaces.cli.output import data

    if data.is_terminal:
        data.print(Syntax(text, "diff", background_color="default", word_wrap=False))
    else:
        print(text, end="")


@app.command()
def messages(
    context: typer.Context,
    idea: IdeaArgument,
    dialect: Annotated[str, typer.Option(help="A provider's form of the conversation.")] = "openai",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """The idea's conversation so far, its roles alternating, ready to be sent."""
    with reported(as_json):
        rendered = open_runner(context, home).messages(idea, dialect)
        if as_json:
            print_json({"idea": idea, "dialect": dialect, **rendered})
            return
        for turn in rendered.get("messages") or rendered["contents"]:
            notes.print(f"--- {turn['role']}", style="bold", markup=False)
            print_text(_content(turn))


def _content(turn: dict[str, Any]) -> str:
    content = turn.get("content", turn.get("parts"))
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", part)) for part in content or ())


app.command("import-chat")(chat.import_chat)
app.command("apply")(edits.apply)
app.command("explain")(explain.explain)
app.command("check")(check.check)
app.command("verify")(verify.verify)
app.command("models")(models.models)
app.command("play")(play.play)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.command("gc")(gc.gc)
app.command("reindex")(ledger.reindex)
app.command("reconcile")(machine.reconcile)
app.add_typer(ledger.ledger_app, name="ledger")
app.add_typer(machine.gpu_app, name="gpu")


def main() -> None:
    """The console script."""
    app()
