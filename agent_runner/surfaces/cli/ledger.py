"""`agent-runner ledger` and `agent-runner reindex`: is the ledger right, on paper, and made anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.surfaces.cli.options import (
    HomeOption,
    IdeaArgument,
    JsonOption,
    chosen_home,
    read_input,
    reported,
)
from agent_runner.surfaces.cli.output import Exit, notes, print_json, print_text

if TYPE_CHECKING:
    from agent_runner.service.bookkeeping import Audit, Books
    from agent_runner.service.discrepancies import Discrepancy

ledger_app = typer.Typer(help="Look at the ledger: check it, export it.", no_args_is_help=True)


@ledger_app.command("check")
def check(
    context: typer.Context,
    quarantine: Annotated[
        bool,
        typer.Option(help="Move records of unknown runs to quarantine/; nothing is deleted."),
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Compare an exported file with the ledger instead."),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the ledger with the records and with git. Exit code 0: sound, 1: something does not fit."""
    with reported(as_json):
        from agent_runner.service import bookkeeping

        books = _books(context, home)
        if against is not None:
            audit = bookkeeping.check_export(books, read_input(against).splitlines(), against)
        else:
            audit = bookkeeping.check(books, quarantine=quarantine)
        if as_json:
            print_json({"clean": audit.clean, **audit.model_dump(mode="json")})
        else:
            _print_audit(audit)
        raise typer.Exit(Exit.OK if audit.clean else Exit.ERROR)


@ledger_app.command("export")
def export(context: typer.Context, idea: IdeaArgument, home: HomeOption = None) -> None:
    """What the ledger holds of an idea, as JSON lines on stdout, each with the hash of the one before."""
    with reported(as_json=False):
        from agent_runner.ledger.export import export as export_lines
        from agent_runner.ledger.export import line_hash

        lines = export_lines(_books(context, home).ledger.account(idea))
        print("\n".join(lines))
        notes.print(f"sha256 of the last line: {line_hash(lines[-1])}", markup=False)


def reindex(
    context: typer.Context,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Only write the new ledger here.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the ledger anew from the records; the present file is kept. Exit code 1: something is missing."""
    with reported(as_json):
        from agent_runner.service.reindexing import reindex as make_anew

        made = make_anew(_books(context, home), out)
        if as_json:
            print_json(made)
        else:
            counts = f"{made.ideas} ideas, {made.attempts} attempts, {made.runs} runs"
            print_text(f"{made.ledger}: {counts}")
            if made.kept:
                print_text(f"the ledger before it: {made.kept}")
            _print_findings(made.findings)
        wrong = any(finding.severity == "fail" for finding in made.findings)
        raise typer.Exit(Exit.ERROR if wrong else Exit.OK)


def _books(context: typer.Context, home: Path | None) -> Books:
    from agent_runner.service.bookkeeping import Books
    from agent_runner.settings import Settings

    return Books.of(chosen_home(context, home) or Settings().home)


def _print_audit(audit: Audit) -> None:
    _print_findings(audit.findings)
    for name in audit.quarantined:
        print_text(f"moved to {name}")
    if audit.clean:
        ideas = "1 idea" if audit.ideas == 1 else f"{audit.ideas} ideas"
        print_text(f"The ledger is sound: {ideas} compared.")
    else:
        wrong = sum(finding.severity == "fail" for finding in audit.findings)
        print_text("One thing does not fit." if wrong == 1 else f"{wrong} things do not fit.")


def _print_findings(findings: tuple[Discrepancy, ...]) -> None:
    for finding in findings:
        print_text(f"{finding.severity:<4}  {finding.code}  {finding.idea}, {finding.subject}")
        for words in (finding.message, finding.why, finding.remedy):
            print_text(f"      {words}")
