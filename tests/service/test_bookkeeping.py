"""`ledger check` finds every contradiction between ledger, records and git, and none in a healthy home."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent_runner.errors import LedgerError, UsageError
from agent_runner.execution import job_files
from agent_runner.ledger import Account, AttemptRow, IdeaRow, Ledger, RunRow
from agent_runner.paths import file_lock
from agent_runner.service import Runner
from agent_runner.service.bookkeeping import Audit, Books, check
from agent_runner.service.discrepancies import CATALOGUE, compare, compare_rows
from agent_runner.service.idea_evidence import IdeaEvidence, Listing
from agent_runner.surfaces.cli.main import app

EXPERIMENT = """\
import argparse, json, os

parser = argparse.ArgumentParser()
parser.add_argument("--out_dir")
args = parser.parse_args()
os.makedirs(args.out_dir, exist_ok=True)
RATE = 0.1
with open(os.path.join(args.out_dir, "final_info.json"), "w") as file:
    json.dump({"toy": {"means": {"loss": 1 - RATE}}}, file)
"""


def block(search: str, replace: str) -> str:
    return f"experiment.py\n```python\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n```\n"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one idea: a baseline, run 1 succeeded, a refused reply, run 2 failed, a last reply."""
    folder = tmp_path_factory.mktemp("books")
    template = folder / "toy"
    template.mkdir()
    (template / "experiment.py").write_text(EXPERIMENT)
    runner = Runner(folder / "home")
    idea = runner.create_idea("Toy", template=template, max_runs=3)
    runner.propose(idea.id, block("RATE = 0.1", "RATE = 0.2"), idempotency_key="first")
    runner.propose(idea.id, "no edits")
    runner.propose(idea.id, block("RATE = 0.2", "RATE = 1 / (len(args.out_dir) - 5)"))
    runner.propose(idea.id, "no edits either", idempotency_key="last")
    runner._workspace.ledger.close()  # its log is then in the file, and the copies are of one file
    return folder / "home"


@pytest.fixture
def home(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    copy = tmp_path / "home"
    shutil.copytree(finished, copy, symlinks=True)
    return copy


def codes(audit: Audit) -> list[str]:
    return [finding.code for finding in audit.findings]


def ledger_by_hand(home: Path, *statements: str) -> None:
    """Change the ledger as a hand with a database shell would: without its rules."""
    with closing(sqlite3.connect(home / "ledger.sqlite3")) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in names.fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def git(home: Path, *arguments: str) -> str:
    command = ["git", f"--git-dir={home / 'repo.git'}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def change_json(path: Path, **fields: object) -> None:
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, **fields}))


def rewrite(path: Path) -> None:
    path.unlink()
    path.write_text("other bytes")


def drop_commit(home: Path) -> None:
    commit = git(home, "rev-parse", "refs/runs/toy/1")
    (home / "repo.git" / "objects" / commit[:2] / commit[2:]).unlink()


IDEA = Path("ideas/toy")
SQL = {
    "over_budget": ["UPDATE ideas SET max_runs = 1"],
    "numbers_not_contiguous": ["DELETE FROM attempts WHERE number = 2"],
    "run_without_attempt": ["UPDATE runs SET attempt = NULL WHERE number = 1"],
    "charge_without_run": ["UPDATE runs SET state = 'refunded' WHERE number = 1"],
    "charged_twice": ["UPDATE runs SET attempt = 1 WHERE number = 2"],
    "spent_uncharged": ["UPDATE attempts SET charged = 0 WHERE number = 1"],
    "budget_differs": ["UPDATE ideas SET max_runs = 5"],
    "result_differs": ["UPDATE runs SET outcome = 'lost' WHERE number = 1"],
    "observation_differs": ["UPDATE attempts SET stage = 'apply' WHERE number = 1"],
    "idea_unknown": ["DELETE FROM runs", "DELETE FROM attempts", "DELETE FROM ideas"],
    "run_unknown": ["DELETE FROM runs WHERE number = 2"],
    "attempt_unknown": ["DELETE FROM attempts WHERE number = 4"],
    "run_ref_unknown": ["DELETE FROM runs WHERE number = 2"],
    "tree_differs": [f"UPDATE runs SET tree = '{'0' * 40}' WHERE number = 1"],
    "commit_missing": [f"UPDATE runs SET commit_id = '{'0' * 40}' WHERE number = 1"],
}
FILES: dict[str, Callable[[Path], object]] = {
    "idea_record_missing": lambda home: (home / IDEA / "idea.json").unlink(),
    "record_unreadable": lambda home: (home / IDEA / "runs/1/result.json").write_text("{"),
    "stray_entry": lambda home: (home / IDEA / "runs/notes.txt").write_text("x"),
    "attempt_records_missing": lambda home: shutil.rmtree(home / IDEA / "attempts/2"),
    "result_missing": lambda home: (home / IDEA / "runs/2/result.json").unlink(),
    "metrics_differ": lambda home: (home / IDEA / "runs/1/final_info.json").write_text("{}"),
    "results_not_kept": lambda home: [path.unlink() for path in (home / "blobs").iterdir()],
    "original_changed": lambda home: (home / "worktrees/toy/run_1/final_info.json").write_text(
        '{"loss": 0}'
    ),
    "run_ref_missing": lambda home: git(home, "update-ref", "-d", "refs/runs/toy/1"),
    "run_ref_differs": lambda home: git(home, "update-ref", "refs/runs/toy/1", "refs/runs/toy/2"),
}
MORE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "another charge was told": (
        "observation_differs",
        lambda home: change_json(
            home / IDEA / "attempts/1/observation.json",
            budget=json.loads((home / IDEA / "attempts/1/observation.json").read_text())["budget"]
            | {"charged": False},
        ),
    ),
    "another reply lies there": (
        "observation_differs",
        lambda home: (home / IDEA / "attempts/1/reply.md").write_text("another"),
    ),
    "kept bytes have changed": (
        "results_not_kept",
        lambda home: [rewrite(path) for path in (home / "blobs").iterdir()],
    ),
    "a commit is gone": ("commit_missing", drop_commit),
    "kept results are gone": (
        "metrics_differ",
        lambda home: (home / IDEA / "runs/1/final_info.json").unlink(),
    ),
    "an unreadable observation": (
        "record_unreadable",
        lambda home: (home / IDEA / "attempts/1/observation.json").write_bytes(b"\xff"),
    ),
    "a folder with a strange number": (
        "stray_entry",
        lambda home: (home / IDEA / "runs/01").mkdir(),
    ),
    "a link in place of a run's folder": (
        "stray_entry",
        lambda home: (home / IDEA / "runs/7").symlink_to(home),
    ),
}


def test_a_healthy_home_reports_nothing(home: Path) -> None:
    audit = check(Books.of(home))
    assert (audit.ideas, audit.findings, audit.clean) == (1, (), True)


@pytest.mark.parametrize("code", SQL)
def test_a_forged_row_is_found(code: str, home: Path) -> None:
    ledger_by_hand(home, *SQL[code])
    assert_found(code, check(Books.of(home)))


@pytest.mark.parametrize("code", FILES)
def test_a_damaged_record_is_found(code: str, home: Path) -> None:
    FILES[code](home)
    assert_found(code, check(Books.of(home)))


@pytest.mark.parametrize("what", MORE)
def test_other_damage_is_found(what: str, home: Path) -> None:
    code, damage = MORE[what]
    damage(home)
    assert_found(code, check(Books.of(home)))


def assert_found(code: str, audit: Audit) -> None:
    assert code in codes(audit)
    assert not audit.clean
    for finding in audit.findings:
        assert finding.idea == "toy" and finding.subject and finding.message
        assert finding.why and finding.remedy
        assert "{" not in finding.remedy


def test_every_kind_of_finding_is_seeded_somewhere() -> None:
    not_faults = {"unfinished", "idea_unentered"}  # and see the tests below
    seeded = {*SQL, *FILES, *(code for code, _ in MORE.values())}
    assert set(CATALOGUE) - seeded == {
        *not_faults,
        "export_contradicted",
        "dropped_by_reindex",
    }


def test_what_the_remedy_says_about_refs_mends_them(home: Path) -> None:
    FILES["run_ref_differs"](home)
    (finding,) = check(Books.of(home)).findings
    command = finding.remedy.split()
    subprocess.run(command, check=True, cwd=home)
    assert check(Books.of(home)).clean


# ---------------------------------------------------------------- what is no fault


def test_what_was_interrupted_is_told_and_is_no_fault(home: Path) -> None:
    ledger = Ledger(home / "ledger.sqlite3")
    attempt = ledger.begin_attempt("toy", "sha", None)
    ledger.reserve_run("toy", attempt=attempt.number, tree="t", commit="c")
    ledger.close()
    audit = check(Books.of(home))
    assert codes(audit) == ["unfinished", "unfinished"]
    assert audit.clean
    with file_lock(home / IDEA / "lock"):  # somebody is at work on it
        assert check(Books.of(home)).findings == ()


def test_a_settled_attempt_without_its_answer_is_unfinished(home: Path) -> None:
    (home / IDEA / "attempts/4/observation.json").unlink()
    audit = check(Books.of(home))
    assert codes(audit) == ["unfinished"]
    with file_lock(home / IDEA / "lock"):
        assert check(Books.of(home)).findings == ()


def test_an_idea_that_was_never_entered_is_no_fault(home: Path) -> None:
    (home / "ideas" / "half").mkdir()
    audit = check(Books.of(home))
    assert codes(audit) == ["idea_unentered"]
    assert audit.clean


def test_faults_are_found_also_while_the_idea_is_worked_on(home: Path) -> None:
    ledger_by_hand(home, *SQL["result_differs"])
    with file_lock(home / IDEA / "lock"):
        assert codes(check(Books.of(home))) == ["result_differs"]


def test_checking_changes_nothing(home: Path) -> None:
    FILES["stray_entry"](home)
    before = sorted(str(path) for path in home.rglob("*"))
    rows = Ledger(home / "ledger.sqlite3").account("toy")
    check(Books.of(home))
    after = {str(path) for path in home.rglob("*") if "-shm" not in path.name}
    assert {name for name in before if "-shm" not in name} - after == set()
    assert Ledger(home / "ledger.sqlite3").account("toy") == rows


# ---------------------------------------------------------------- pure


def account_of(*runs: RunRow, attempts: int = 2, max_runs: int = 3) -> Account:
    rows = tuple(
        AttemptRow(n, None, None, "done", any(r.attempt == n for r in runs), "x", "s", "now")
        for n in range(1, attempts + 1)
    )
    return Account(IdeaRow("idea", "An idea", max_runs, 9, "now"), rows, runs)


def spent(number: int, attempt: int) -> RunRow:
    return RunRow(number, attempt, "t", "c", "spent", "succeeded", "x", 1, "now", "now")


def test_sound_rows_have_no_findings() -> None:
    assert list(compare_rows(account_of(spent(1, 1), spent(2, 2)))) == []


def test_a_missing_run_number_is_named() -> None:
    (finding,) = compare_rows(account_of(spent(1, 1), spent(3, 2)))
    assert (finding.code, finding.message) == ("numbers_not_contiguous", "the ledger lacks run 2")


def test_the_attempt_under_way_is_not_judged() -> None:
    account = account_of(spent(1, 2))
    listing = Listing(frozenset({1, 2}), frozenset({1}))
    idle = {finding.subject for finding in compare(account, IdeaEvidence("idea", listing=listing))}
    busy = {
        finding.subject
        for finding in compare(account, IdeaEvidence("idea", listing=listing, busy=True))
    }
    assert idle - busy == {"attempt 2", "run 1"}


# ---------------------------------------------------------------- quarantine


def test_quarantine_moves_what_the_ledger_does_not_know_and_deletes_nothing(home: Path) -> None:
    unknown = home / IDEA / "runs" / "9"
    unknown.mkdir()
    (unknown / "final_info.json").write_text("{}")
    FILES["stray_entry"](home)
    assert codes(check(Books.of(home))) == ["stray_entry", "run_unknown"]
    assert unknown.exists()
    audit = check(Books.of(home), quarantine=True)
    assert (audit.clean, audit.findings, len(audit.quarantined)) == (True, (), 2)
    contents = {Path(name).name.split(".")[0]: Path(name) for name in audit.quarantined}
    assert (contents["run_9"] / "final_info.json").read_text() == "{}"
    assert contents["run_notes"].read_text() == "x"
    assert check(Books.of(home)).findings == ()


def test_quarantine_leaves_an_idea_alone_that_is_worked_on(home: Path) -> None:
    (home / IDEA / "runs" / "9").mkdir()
    with file_lock(home / IDEA / "lock"):
        assert codes(check(Books.of(home), quarantine=True)) == ["run_unknown"]
    assert (home / IDEA / "runs" / "9").exists()


def test_quarantine_leaves_the_records_of_a_living_job_where_they_are(home: Path) -> None:
    unknown = home / IDEA / "runs" / "9"
    unknown.mkdir()
    lock = job_files.take_lock(str(unknown / job_files.LOCK))  # its shim lives, its server does not
    try:
        audit = check(Books.of(home), quarantine=True)
    finally:
        os.close(lock)
    assert (codes(audit), audit.quarantined) == (["run_unknown"], ())
    assert "its job goes on" in audit.findings[0].message
    assert unknown.exists()
    assert len(check(Books.of(home), quarantine=True).quarantined) == 1


# ---------------------------------------------------------------- the command


@pytest.fixture
def cli(home: Path) -> Iterator[Callable[..., tuple[int, str]]]:
    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["--home", str(home), *arguments])
        return result.exit_code, result.output

    yield run


def test_the_command_says_what_why_and_what_to_do(
    cli: Callable[..., tuple[int, str]], home: Path
) -> None:
    code, output = cli("ledger", "check")
    assert (code, output) == (0, "The ledger is sound: 1 idea compared.\n")
    ledger_by_hand(home, *SQL["over_budget"])
    code, output = cli("ledger", "check")
    assert code == 1
    assert "over_budget" in output and "2 runs are used of 1" in output
    for words in CATALOGUE["over_budget"]:
        assert words in output
    code, output = cli("ledger", "check", "--json")
    document = json.loads(output)
    assert (code, document["clean"]) == (1, False)
    assert "over_budget" in [finding["code"] for finding in document["findings"]]


def test_an_export_is_checked_against_the_ledger(
    cli: Callable[..., tuple[int, str]], home: Path, tmp_path: Path
) -> None:
    code, output = cli("ledger", "export", "toy")
    assert code == 0
    lines = [line for line in output.splitlines() if line.startswith("{")]
    file = tmp_path / "toy.jsonl"
    file.write_text("\n".join(lines) + "\n")
    assert cli("ledger", "check", "--against", str(file))[0] == 0
    ledger_by_hand(home, "UPDATE runs SET outcome = 'lost' WHERE number = 2")
    code, output = cli("ledger", "check", "--against", str(file))
    assert code == 1 and "'failed'" in output and "'lost'" in output
    file.write_text("something else\n")
    assert cli("ledger", "check", "--against", str(file))[0] == 2


def test_a_damaged_ledger_is_an_error_that_names_the_way_out(
    cli: Callable[..., tuple[int, str]], home: Path
) -> None:
    (home / "ledger.sqlite3").write_bytes(b"nothing" * 1000)
    with pytest.raises(LedgerError):
        check(Books.of(home))
    code, output = cli("ledger", "check")
    assert code == 1 and "agent-runner reindex" in output


def test_a_folder_that_is_no_home_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a home"):
        Books.of(tmp_path)
    assert os.listdir(tmp_path) == []
