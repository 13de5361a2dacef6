"""Every way in which fetching breaks, and that nothing a run could load is left of it."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from asking import (
    DIGEST,
    SMALL,
    assessed,
    file_requests,
    folder,
    loadable,
)
from hub_stand_in import FILES, WEIGHTS, Fault, Hub, sha1_of

from agent_runner.models import Machine, download
from agent_runner.models.cached import look


@pytest.mark.parametrize(
    "fault",
    [
        Fault(f"/cdn/{DIGEST}", status=429, headers={"Retry-After": "0"}, times=2),
        Fault(f"/cdn/{DIGEST}", status=503, times=2),
        Fault(f"/cdn/{DIGEST}", hang_up=True, times=2),
        Fault(f"/cdn/{DIGEST}", cut=100_000, times=2),
        Fault("/resolve/", status=500, times=2),
        Fault("/revision/", status=502, times=2),
    ],
    ids=["429", "503", "hangs up", "cut short", "500 of the file", "502 of the list"],
)
def test_what_passes_is_tried_again(fault: Fault, hub: Hub, machine: Machine, memo: Path) -> None:
    access = assessed(machine, memo)
    hub.faults = [fault]
    assert download(access, machine).status == "ready"
    assert fault.times == 0


@pytest.mark.parametrize(
    ("fault", "token", "status", "reason"),
    [
        (
            Fault("/resolve/", status=401, headers={"X-Error-Code": "GatedRepo"}),
            None,
            "gated",
            "it is gated: its licence has to be accepted, and there is no token",
        ),
        (
            Fault("/resolve/", status=403, headers={"X-Error-Code": "GatedRepo"}),
            "hf_member",
            "forbidden",
            "it is gated, and the account of this machine's token has no access to it",
        ),
        (
            Fault("/resolve/", status=404, headers={"X-Error-Code": "RepoNotFound"}),
            None,
            "not_found",
            "HUB has no model of this name, or it is private and there is no token",
        ),
        (
            Fault("/resolve/", status=404, headers={"X-Error-Code": "EntryNotFound"}),
            None,
            "not_found",
            "HUB no longer has this revision or a file of it",
        ),
        (
            Fault("/cdn/", status=429, headers={"Retry-After": "3600"}),
            None,
            "unreachable",
            "HUB answers 429: too many requests, and asks to wait 3600 s; what was fetched is kept",
        ),
        (
            Fault(f"/cdn/{DIGEST}", status=503, headers={"Retry-After": "60"}),
            None,
            "unreachable",
            "HUB is out of order: it answers 503; what was fetched is kept",
        ),
        (
            Fault("/revision/", status=200, body=b"<html>"),
            None,
            "unreachable",
            "HUB does not answer as the hub does: its answer is no JSON; what was fetched is kept",
        ),
        (
            Fault(f"/cdn/{DIGEST}", corrupt=True),
            None,
            "damaged",
            "model.safetensors from HUB is not what the hub says it is: its checksum is wrong, twice",
        ),
        (
            Fault("/cdn/", status=200, body=WEIGHTS * 30),
            None,
            "damaged",
            "model.safetensors from HUB is not what the hub says it is: its checksum is wrong, twice",
        ),
    ],
    ids=[
        "gated",
        "forbidden",
        "gone",
        "file gone",
        "429 for long",
        "503 for long",
        "no JSON",
        "wrong twice",
        "endless",
    ],
)
def test_what_does_not_pass_is_said(
    fault: Fault,
    token: str | None,
    status: str,
    reason: str,
    hub: Hub,
    machine: Machine,
    memo: Path,
) -> None:
    machine = dataclasses.replace(machine, token=token)
    access = assessed(machine, memo)
    hub.faults = [fault]
    done = download(access, machine)
    assert (done.status, done.reason.replace(machine.host, "HUB")) == (status, reason)
    assert done.remedy
    assert loadable(machine) == []
    hub.faults = []
    assert download(access, machine).status == "ready", "and it can be started again"


def test_a_wrong_content_is_fetched_once_more(hub: Hub, machine: Machine, memo: Path) -> None:
    access = assessed(machine, memo)
    hub.faults = [Fault(f"/cdn/{DIGEST}", corrupt=True, times=1)]
    said: list[str] = []
    done = download(access, machine, progress=lambda label, detail: said.append(detail))
    assert done.status == "ready"
    assert "model.safetensors arrived damaged" in said
    assert file_requests(hub) == 2


def test_no_more_is_taken_than_was_announced(hub: Hub, machine: Machine, memo: Path) -> None:
    access = assessed(machine, memo)
    hub.faults = [Fault("/cdn/", status=200, body=WEIGHTS * 30)]
    said: list[str] = []
    done = download(access, machine, progress=lambda label, detail: said.append(detail))
    assert done.status == "damaged"
    amounts = {detail.split(" of ")[0] for detail in said if " of " in detail}
    large = {amount for amount in amounts if amount.endswith(("MiB", "GiB"))}
    assert amounts and not large, "nothing after the piece in which it became too much"


def test_two_at_once_fetch_it_once(hub: Hub, machine: Machine, memo: Path) -> None:
    access = assessed(machine, memo)
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda each: download(each, machine), [access, access]))
    assert [each.status for each in done] == ["ready", "ready"]
    assert file_requests(hub) == 1


def test_damage_on_this_machine_is_mended(hub: Hub, machine: Machine, memo: Path) -> None:
    access = assessed(machine, memo)
    download(access, machine)
    blob = folder(machine) / "blobs" / DIGEST
    blob.write_bytes(b"x" + WEIGHTS[1:])
    assert download(access, machine).status == "ready"
    assert blob.read_bytes() == WEIGHTS
    blob.write_bytes(b"x" + WEIGHTS[1:])
    hub.faults = [Fault(f"/cdn/{DIGEST}", corrupt=True)]
    assert download(access, machine).status == "damaged"
    assert loadable(machine) == []
    assert look(machine.hub_cache, "model", SMALL).problem


def test_a_broken_download_goes_on_where_it_was(hub: Hub, machine: Machine, memo: Path) -> None:
    access = assessed(machine, memo)
    blobs = folder(machine) / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{DIGEST}.incomplete").write_bytes(WEIGHTS[:200_000])
    assert assessed(machine, memo).download_bytes == access.download_bytes - 200_000  # type: ignore[operator]
    hub.faults = [Fault(f"/cdn/{DIGEST}", cut=50_000, times=1)]
    assert download(access, machine).status == "ready"
    assert file_requests(hub) == 2, "a range was asked for, and the rest of it again"
    assert (blobs / DIGEST).read_bytes() == WEIGHTS
    assert sorted(path.name for path in blobs.iterdir()) == sorted(
        [DIGEST, sha1_of(FILES["config.json"]), sha1_of(FILES["tokenizer.json"])]
    )


def test_a_part_of_something_else_is_thrown_away(hub: Hub, machine: Machine, memo: Path) -> None:
    access = assessed(machine, memo)
    blobs = folder(machine) / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{DIGEST}.incomplete").write_bytes(b"x" * len(WEIGHTS))
    assert download(access, machine).status == "ready"
    assert (blobs / DIGEST).read_bytes() == WEIGHTS


def test_a_full_disk(hub: Hub, machine: Machine, memo: Path) -> None:
    access = assessed(machine, memo)
    blobs = folder(machine) / "blobs"
    blobs.mkdir(parents=True)
    partial = blobs / f"{DIGEST}.incomplete"
    partial.symlink_to("/dev/full")  # the kernel's own device on which nothing has room
    done = download(access, machine)
    assert done.status == "no_disk"
    assert done.reason.startswith("the disk became full while it was fetched (")
    assert loadable(machine) == []
    partial.unlink()
    assert download(access, machine).status == "ready"


def test_a_cache_that_cannot_be_written_to(machine: Machine, memo: Path) -> None:
    access = assessed(machine, memo)
    machine.hub_cache.write_text("a file where the cache should be")
    done = download(access, machine)
    assert done.status == "no_disk"
    assert "Not a directory" in done.reason or "File exists" in done.reason


def cancelled_after(hub: Hub, requests: int) -> Callable[[], bool]:
    return lambda: file_requests(hub) >= requests


def test_cancelled_at_once_and_started_again(hub: Hub, machine: Machine, memo: Path) -> None:
    access = assessed(machine, memo)
    hub.faults = [Fault(f"/cdn/{DIGEST}", silent=True, times=1)]
    done = download(access, machine, cancelled=cancelled_after(hub, 1))
    assert (done.status, done.reason) == (
        "not_cached",
        "its download was cancelled; what was fetched is kept",
    )
    assert loadable(machine) == []
    assert not fetching_processes()
    assert download(access, machine).status == "ready"


def test_a_process_that_is_killed_takes_nothing_with_it(
    hub: Hub, machine: Machine, memo: Path
) -> None:
    access = assessed(machine, memo)
    hub.faults = [Fault(f"/cdn/{DIGEST}", silent=True, times=1)]

    def kill() -> bool:
        if file_requests(hub):
            for pid in fetching_processes():
                os.kill(pid, 9)
        return False

    done = download(access, machine, cancelled=kill)
    assert done.status == "not_cached"
    assert done.reason == (
        "the process that fetched it ended by itself (SIGKILL); what was fetched is kept"
    )
    assert download(access, machine).status == "ready"


def test_the_last_words_of_a_process_that_cannot_start(
    machine: Machine, memo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = assessed(machine, memo)
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho of no use to $HF_TOKEN >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    done = download(access, dataclasses.replace(machine, token="hf_member"))
    assert done.status == "not_cached"
    assert done.reason == (
        "the process that fetched it ended by itself (exit status 3): of no use to <token>; "
        "what was fetched is kept"
    )


def test_an_error_of_the_watcher_leaves_no_process(hub: Hub, machine: Machine, memo: Path) -> None:
    access = assessed(machine, memo)
    hub.faults = [Fault(f"/cdn/{DIGEST}", silent=True, times=1)]

    def broken() -> bool:
        if file_requests(hub):
            raise RuntimeError("of the watcher")
        return False

    with pytest.raises(RuntimeError, match="of the watcher"):
        download(access, machine, cancelled=broken)
    assert not fetching_processes()


def fetching_processes() -> list[int]:
    """Children of this process that fetch."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = status.read_text().rpartition(")")[2].split()[1]
            command = (status.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(parent) == os.getpid() and b"agent_runner.models.fetch" in command:
            found.append(int(status.parent.name))
    return found
