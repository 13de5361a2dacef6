"""The wire contract: fields may be added, none renamed or removed."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from agent_runner import records

CONTRACT: dict[type[BaseModel], str] = {
    records.Observation: (
        "schema_version idea attempt accepted stage problems run budget message messages links"
    ),
    records.Problem: "kind message path line block",
    records.Budget: "max_runs used left attempts_left charged reason",
    records.RunResult: (
        "index outcome returncode signal seconds phase commit tree diff_stat metrics comparison findings "
        "failure model resources sandbox environment"
    ),
    records.Failure: (
        "kind exception_type message location cause_chain phase evidence remedy charged charged_reason"
    ),
    records.Location: "file line code function",
    records.Finding: "severity code message",
    records.ModelUse: "requested granted reason",
    records.Sandbox: "level digest",
    records.Template: "command editable locked preload limits resources smoke models",
    records.Limits: ("time_s no_output_s soft_deadline_s memory_mb disk_mb output_bytes processes"),
    records.Grants: "gpus network",
    records.ModelSpec: "name dtype parameters",
}


@pytest.mark.parametrize("record", CONTRACT, ids=lambda record: record.__name__)
def test_every_field_of_the_contract_is_there(record: type[BaseModel]) -> None:
    assert set(CONTRACT[record].split()) <= set(record.model_fields)


def test_the_words_of_stages_and_outcomes_are_fixed() -> None:
    assert [str(stage) for stage in records.Stage] == [
        "apply",
        "validate",
        "admit",
        "execute",
        "done",
    ]
    assert {str(outcome) for outcome in records.Outcome} == {
        "succeeded",
        "failed",
        "timed_out",
        "cancelled",
        "killed",
        "lost",
        "not_started",
    }


def test_records_are_frozen_and_read_what_a_newer_version_wrote() -> None:
    use = records.ModelUse.model_validate({"requested": "a", "granted": "b", "new_field": 1})
    assert use.granted == "b"
    with pytest.raises(ValidationError, match="frozen"):
        use.granted = "c"
