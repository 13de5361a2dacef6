"""A download that failed is remembered, and one that brings nothing comes to an end."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from asking import DIGEST, SMALL, assessed, file_requests
from hub_stand_in import WEIGHTS, Fault, Hub

from agent_runner.models import Machine, download, fetch
from agent_runner.models import hub as hub_client
from agent_runner.models import memo as memo_module
from agent_runner.models.refusals import is_transient
from agent_runner.records import Access

DAMAGE = Fault(f"/cdn/{DIGEST}", corrupt=True)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The time by which answers are remembered, to be moved by hand."""
    now = [1000.0]
    initial = memo_module.Memo.__init__

    def init(self: memo_module.Memo, path: Path | None) -> None:
        initial(self, path, lambda: now[0])

    monkeypatch.setattr(memo_module.Memo, "__init__", init)
    yield now


def failed(hub: Hub, machine: Machine, memo: Path, fault: Fault) -> Access:
    """The outcome of a download that is begun by what the hub says now, and fails."""
    hub.faults = []
    access = assessed(machine, memo)
    assert access.status == "downloadable", access
    hub.faults = [fault]
    return download(access, machine, memo=memo)


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (DAMAGE, "damaged"),
        (Fault("/cdn/", status=429, headers={"Retry-After": "3600"}), "unreachable"),
        (Fault("/resolve/", status=404, headers={"X-Error-Code": "RevisionNotFound"}), "not_found"),
        (Fault("/resolve/", status=401, headers={"X-Error-Code": "GatedRepo"}), "gated"),
        (Fault("/resolve/", status=403), "forbidden"),
    ],
    ids=["damaged", "429", "revision gone", "gated", "forbidden"],
)
def test_the_next_proposal_is_told_and_does_not_ask(
    fault: Fault, status: str, hub: Hub, machine: Machine, memo: Path, clock: list[float]
) -> None:
    done = failed(hub, machine, memo, fault)
    assert done.status == status
    hub.requests.clear()
    again = assessed(machine, memo)
    assert (again.status, again.remedy) == (status, done.remedy)
    assert done.reason in again.reason and "did you mean" not in again.remedy
    assert "the runner does not fetch it again for " in again.remedy
    assert download(again, machine, memo=memo) == again
    assert hub.requests == []
    clock[0] += 3601
    hub.faults = []
    assert assessed(machine, memo).status == "downloadable"
    assert hub.requests, "that it could be had was not remembered any longer"


def test_it_holds_longer_each_time_in_a_row(
    hub: Hub, machine: Machine, memo: Path, clock: list[float]
) -> None:
    for minutes in (2, 10, 60, 60):
        assert f"for {minutes} minutes" in failed(hub, machine, memo, DAMAGE).remedy
        clock[0] += minutes * 60 - 1
        assert assessed(machine, memo).status == "damaged"
        clock[0] += 1


def test_a_success_ends_the_row(hub: Hub, machine: Machine, memo: Path, clock: list[float]) -> None:
    failed(hub, machine, memo, DAMAGE)
    clock[0] += 120
    hub.faults = []
    assert download(assessed(machine, memo), machine, memo=memo).status == "ready"
    shutil.rmtree(machine.hub_cache)
    assert "for 2 minutes" in failed(hub, machine, memo, DAMAGE).remedy


def test_a_cancelled_download_is_not_a_failed_one(hub: Hub, machine: Machine, memo: Path) -> None:
    access = assessed(machine, memo)
    hub.faults = [Fault(f"/cdn/{DIGEST}", silent=True, times=1)]
    done = download(access, machine, memo=memo, cancelled=lambda: file_requests(hub) > 0)
    assert done.status == "not_cached"
    assert assessed(machine, memo).status == "downloadable"


def test_a_process_that_could_not_do_its_work_is_started_again_soon(
    machine: Machine,
    memo: Path,
    clock: list[float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(broken))
        for _ in range(3):
            done = download(assessed(machine, memo), machine, memo=memo)
            assert assessed(machine, memo).status == done.status == "not_cached"
            clock[0] += 120
    assert assessed(machine, memo).status == "downloadable"


def test_another_token_is_not_refused_for_what_one_had(
    hub: Hub, machine: Machine, memo: Path
) -> None:
    failed(hub, machine, memo, Fault("/resolve/", status=403))
    hub.faults = []
    member = dataclasses.replace(machine, token="hf_member")
    assert assessed(member, memo).status == "downloadable"
    assert assessed(machine, memo).status == "forbidden"
    assert "hf_member" not in memo.read_text()


def test_what_arrived_by_other_means_is_ready(hub: Hub, machine: Machine, memo: Path) -> None:
    failed(hub, machine, memo, DAMAGE)
    hub.faults = []
    access = Access(name=SMALL, status="downloadable")
    assert download(access, machine, memo=memo.with_name("another.json")).status == "ready"
    assert assessed(machine, memo).status == "ready"


def test_its_memory_is_known_after_a_failure(hub: Hub, machine: Machine, memo: Path) -> None:
    hub.repositories[SMALL].parameters = 10**9
    before = assessed(machine, memo).memory_bytes
    assert failed(hub, machine, memo, DAMAGE).memory_bytes == before
    assert before and assessed(machine, memo).memory_bytes == before


# ------------------------------------------------------------------------------ no bytes


def fetching(machine: Machine) -> fetch.Fetching:
    return fetch.Fetching("model", SMALL, None, machine)


@pytest.mark.parametrize("path", ["/api/models/", f"/cdn/{DIGEST}"])
def test_a_silent_server_is_given_up(
    path: str, hub: Hub, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that has died is made anew, within the same time."""
    monkeypatch.setattr(fetch, "_SILENT_S", 1.0)
    monkeypatch.setattr(fetch, "_READ_S", 0.4)
    hub.faults = [Fault(path, silent=True)]
    with pytest.raises(Exception) as raised:
        fetching(machine).run()
    assert is_transient(raised.value), "it was not for another reason that it ended"
    assert 1 <= hub.asked(path) <= 3


def test_a_connection_that_dies_once_is_made_anew(
    hub: Hub, machine: Machine, monkeypatch: pytest.MonkeyPatch, memo: Path
) -> None:
    monkeypatch.setattr(fetch, "_READ_S", 0.4)
    hub.faults = [Fault(f"/cdn/{DIGEST}", silent=True, times=1)]
    fetching(machine).run()
    assert assessed(machine, memo).status == "ready"


def test_a_server_out_of_order_is_tried_a_few_times(
    hub: Hub, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    usual = hub_client._Wait.__call__

    def wait(self: hub_client._Wait, state: object) -> float:
        waits.append(usual(self, state))  # type: ignore[arg-type]
        return 0.0

    monkeypatch.setattr(hub_client._Wait, "__call__", wait)
    hub.faults = [Fault(f"/cdn/{DIGEST}", status=503)]
    with pytest.raises(Exception) as raised:
        fetching(machine).run()
    assert is_transient(raised.value)
    assert 3 <= hub.asked(f"/cdn/{DIGEST}") == len(waits)
    assert sum(waits[:-1]) < fetch._REFUSED_S, "after the last one nothing is waited for"


def test_bytes_give_it_time_again(
    hub: Hub, machine: Machine, monkeypatch: pytest.MonkeyPatch, memo: Path
) -> None:
    """More pieces than there are attempts in vain, each cut off: every one brings something."""
    monkeypatch.setattr(hub_client._Wait, "__call__", lambda self, state: 0.0)
    hub.faults = [Fault(f"/cdn/{DIGEST}", cut=20_000)]
    fetching(machine).run()
    assert assessed(machine, memo).status == "ready"
    assert file_requests(hub) == 15


def test_the_same_bytes_again_are_nothing_new(
    hub: Hub, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that always begins at the beginning, and always breaks off."""
    monkeypatch.setattr(hub_client._Wait, "__call__", lambda self, state: 0.0)
    hub.faults = [Fault(f"/cdn/{DIGEST}", status=200, body=WEIGHTS[:20_000])]
    with pytest.raises(Exception, match="ended early"):
        fetching(machine).run()
    assert file_requests(hub) <= fetch._ATTEMPTS + 1


def test_the_hubs_wish_to_be_left_alone_is_remembered(
    hub: Hub, machine: Machine, memo: Path, clock: list[float]
) -> None:
    fault = Fault("/cdn/", status=503, headers={"Retry-After": "1800"})
    assert "for 30 minutes" in failed(hub, machine, memo, fault).remedy
    (entry,) = (e for name, e in json.loads(memo.read_text()).items() if "download of" in name)
    assert entry["holds"] == 1800
    clock[0] += 1799
    assert assessed(machine, memo).status == "unreachable"
