"""The diagnosis of every program of the catalogue: its kind, its line, its cost, the words that matter."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from failure_catalogue import CATALOGUE, MADE, RECORD, Case, load
from record_catalogue import imaginary, run

from agent_runner.failures import Evidence, diagnose, explain_log
from agent_runner.records import Failure, Limits
from agent_runner.service.evidence import gather

CASES = load()
QUICK_S = 1.0
QUICK = [
    case
    for case in CASES
    if not case.needs
    and not case.by_hand
    and json.loads((case.folder / RECORD / "exit.json").read_text())["seconds"] < QUICK_S
]


def name(case: Case) -> str:
    return case.name


def place_of(failure: Failure | None) -> str | None:
    place = failure.location if failure else None
    return f"{Path(place.file).name}:{place.line}" if place else None


def words_of(failure: Failure) -> str:
    chain = (f"{cause.type}: {cause.message}" for cause in failure.cause_chain)
    values = failure.location.locals.values() if failure.location else ()
    return "\n".join([failure.message, failure.remedy, *failure.evidence, *chain, *values])


def test_there_are_enough() -> None:
    assert len(CASES) >= 60
    assert len({case.kind for case in CASES}) >= 26
    assert len(QUICK) >= 20


@pytest.mark.parametrize("case", CASES, ids=name)
def test_the_diagnosis(case: Case) -> None:
    failure = diagnose(case.evidence())
    assert failure is not None
    assert (failure.kind, place_of(failure)) == (case.kind, case.place), failure
    assert failure.charged is case.charged, failure.charged_reason
    if case.phase is not None:
        assert failure.phase == case.phase
    for words in case.says:
        assert words in words_of(failure)


@pytest.mark.parametrize("case", CASES, ids=name)
def test_the_saved_log_alone(case: Case) -> None:
    failure = explain_log(case.log())
    assert failure.kind == (case.log_kind or case.kind)


@pytest.mark.parametrize("case", CASES, ids=name)
def test_the_record_is_of_this_program_and_of_no_machine(case: Case) -> None:
    made = json.loads((case.folder / RECORD / MADE).read_text())
    assert made["program"] == case.digest(), "record it anew: tests/failures/record_catalogue.py"
    text = "\n".join(
        path.read_text(errors="replace") for path in sorted((case.folder / RECORD).iterdir())
    )
    assert not re.search(r"/(?:home|Users|root|tmp/t)/|site-packages/\.\.", text)
    assert text.encode() == imaginary(text.encode(), Path("/nowhere"))


@pytest.mark.parametrize("case", QUICK, ids=name)
def test_the_program_still_ends_so(case: Case, tmp_path: Path) -> None:
    """The records tell the truth: run anew, the quick ones are diagnosed alike."""
    ended, problem, records = run(case, tmp_path)
    evidence: Evidence = gather(
        ended,
        records,
        root=str(tmp_path / "worktree"),
        editable=("experiment.py",),
        limits=Limits(**case.limits),
        results_problem=problem,
        free_memory=None,
    )
    failure = diagnose(evidence)
    assert failure is not None
    assert (failure.kind, place_of(failure)) == (case.kind, case.place)


def test_no_folder_is_forgotten() -> None:
    assert {path.name for path in CATALOGUE.iterdir()} == {case.name for case in CASES}
