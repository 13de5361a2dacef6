"""What is answered for each way in which a hub fails: status, reason and remedy, word for word."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import types
from pathlib import Path

import pytest
from asking import (
    ABSENT,
    GATED,
    SMALL,
    ask,
    every,
    shown,
)
from hub_stand_in import Fault, Hub, Repository

from agent_runner.models import Asset, Machine, assess
from agent_runner.models import hub as hub_module
from agent_runner.models.refusals import retry_after

LATER = "try again later, or fetch it on a machine with network: `hf download org/small`"


@dataclasses.dataclass(frozen=True)
class Case:
    """name, token: what is asked for, and with which token. requests: that this takes."""

    status: str
    reason: str
    remedy: str = ""
    name: str = SMALL
    token: str | None = None
    faults: tuple[Fault, ...] = ()
    requests: int = 1


def unreachable(reason: str, *faults: Fault, requests: int = 1, remedy: str = LATER) -> Case:
    said = f"{ABSENT}, and {reason}"
    return Case("unreachable", said, remedy, faults=faults, requests=requests)


FETCHED = f"{ABSENT}; 293 KiB would be fetched first"
PRIVATE = "correct the name, or set HF_TOKEN to a token that may see it"
LICENCE = (
    "accept the licence at http://HUB/org/gated with the account that the token belongs to "
    "(some are granted by a person, later), or set HF_TOKEN to a token of an account with access"
)
NEW_TOKEN = (
    "make a new token at http://HUB/settings/tokens and set HF_TOKEN to it, "
    "or unset it if everything needed is public"
)
CASES = {
    "an open model": Case("downloadable", FETCHED),
    "401 gated, no token": Case(
        "gated",
        "it is gated: its licence has to be accepted, and there is no token",
        "accept the licence at http://HUB/org/gated and set HF_TOKEN to a token of that account",
        name=GATED,
        requests=2,
    ),
    "403 gated, a token without access": Case(
        "forbidden",
        "it is gated, and the account of this machine's token has no access to it",
        LICENCE,
        name=GATED,
        token="hf_stranger",
        requests=2,
    ),
    "gated, a token with access": Case(
        "downloadable", FETCHED, name=GATED, token="hf_member", requests=2
    ),
    "401 a token that is not valid": Case(
        "forbidden",
        "HUB does not accept this machine's token: it has expired, was revoked or is mistyped",
        NEW_TOKEN,
        token="hf_expired",
    ),
    "a token that cannot be sent": Case(
        "forbidden",
        "HUB does not accept this machine's token: it has expired, was revoked or is mistyped",
        NEW_TOKEN,
        token="hf_\u00e4 b",
        requests=0,
    ),
    "401 no such model, no token": Case(
        "not_found",
        "HUB has no model of this name, or it is private and there is no token",
        PRIVATE,
        name="org/nothing",
    ),
    "404 no such model, with a token": Case(
        "not_found",
        "HUB has no model of this name, or it is private and this machine's token may not see it",
        PRIVATE,
        name="org/nothing",
        token="hf_member",
    ),
    "a name near one of the template's": Case(
        "not_found",
        "HUB has no model of this name, or it is private and there is no token",
        f"did you mean org/small?; {PRIVATE}",
        name="other/smal",
    ),
    "a name that there cannot be": Case(
        "not_found", "'no name' cannot be the name of a model", name="no name", requests=0
    ),
    "private, no token": Case(
        "not_found",
        "HUB has no model of this name, or it is private and there is no token",
        PRIVATE,
        name="org/private",
    ),
    "403 of another kind": Case(
        "forbidden",
        "HUB refuses it to this token: no fine-grained access",
        "see http://HUB/org/small and the permissions of the token at http://HUB/settings/tokens",
        token="hf_member",
        faults=(every(status=403, headers={"X-Error-Message": "no fine-grained access"}),),
    ),
    "403 disabled by its author": Case(
        "forbidden",
        "HUB refuses it to everybody without a token: Access to this resource is disabled.",
        "see http://HUB/org/small and the permissions of the token at http://HUB/settings/tokens",
        faults=(
            every(status=403, headers={"X-Error-Message": "Access to this resource is disabled."}),
        ),
    ),
    "429 once, Retry-After: 0": Case(
        "downloadable",
        FETCHED,
        faults=(every(status=429, headers={"Retry-After": "0"}, times=1),),
        requests=2,
    ),
    "429 once, without Retry-After": Case(
        "downloadable", FETCHED, faults=(every(status=429, times=1),), requests=2
    ),
    "429 with Retry-After: 30": unreachable(
        "HUB answers 429: too many requests, and asks to wait 30 s",
        every(status=429, headers={"Retry-After": "30"}),
    ),
    "429 always": unreachable("HUB answers 429: too many requests", every(status=429), requests=6),
    "503 twice, then fine": Case(
        "downloadable", FETCHED, faults=(every(status=503, times=2),), requests=3
    ),
    "500 always": unreachable("HUB is out of order: it answers 500", every(status=500), requests=6),
    "501, not to be repeated": unreachable(
        "HUB is out of order: it answers 501", every(status=501)
    ),
    "418": unreachable("HUB answered 418 (no tea)", every(status=418, body=b"no tea")),
    "hangs up once": Case(
        "downloadable", FETCHED, faults=(every(hang_up=True, times=1),), requests=2
    ),
    "hangs up always": unreachable(
        "HUB cannot be reached: Server disconnected without sending a response.",
        every(hang_up=True),
        requests=6,
    ),
    "no JSON": unreachable(
        "HUB does not answer as the hub does: its answer is no JSON",
        every(status=200, body=b"<html>login</html>"),
        remedy="is HF_ENDPOINT right?",
    ),
    "JSON of something else": unreachable(
        "HUB does not answer as the hub does: its description of the model cannot be read",
        every(status=200, body=b'{"models": []}'),
        remedy="is HF_ENDPOINT right?",
    ),
    "a list instead": unreachable(
        "HUB does not answer as the hub does: its description of the model cannot be read",
        every(status=200, body=b"[1]"),
        remedy="is HF_ENDPOINT right?",
    ),
    "half an answer once": Case(
        "downloadable", FETCHED, faults=(every(cut=40, times=1),), requests=2
    ),
    "half an answer always": unreachable(
        "HUB cannot be reached: peer closed connection without sending complete message body "
        "(received 40 bytes, expected 1091)",
        every(cut=40),
        requests=6,
    ),
    "a repository without weights": Case(
        "not_found",
        "its repository has no weights that transformers can load "
        "(neither model*.safetensors nor pytorch_model*.bin)",
        name="org/bare",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_each_fault_answers(
    name: str, hub: Hub, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    hub.repositories["org/bare"] = Repository({"config.json": b"{}", "model.gguf": b"x" * 20_000})
    hub.faults = list(case.faults)
    machine = dataclasses.replace(machine, token=case.token)
    waits = hub_module._Wait
    monkeypatch.setattr(hub_module, "_Wait", lambda first_s: waits(first_s / 50))
    access = ask(machine, case.name, memo=tmp_path / "memo.json", deadline_s=20.0)
    assert len(hub.requests) == case.requests
    assert (access.status, shown(access.reason, hub), shown(access.remedy, hub)) == (
        case.status,
        case.reason,
        case.remedy,
    )
    assert case.token is None or case.token not in access.model_dump_json()


# ------------------------------------------------------------------------------ in time


def test_a_silent_hub_is_waited_for_once_however_much_is_asked(
    hub: Hub, machine: Machine, tmp_path: Path
) -> None:
    ask(machine, SMALL, memo=tmp_path / "other.json", deadline_s=30.0)  # imports the hub's client
    hub.requests.clear()
    hub.faults = [Fault("/api/", silent=True)]
    names = [f"org/model{n}" for n in range(12)]
    memo = tmp_path / "memo.json"
    assets = [Asset("model", name) for name in names]
    # The hub says nothing for as long as this test lasts: that it goes on at all shows the deadline.
    accesses = assess(assets, [], tmp_path, machine, memo, deadline_s=1.0)
    assert {access.status for access in accesses} == {"unreachable"}
    assert {shown(access.reason, hub) for access in accesses} <= {
        f"{ABSENT}, and HUB did not answer within 1 s",
        f"{ABSENT}, and HUB did not answer in time",
    }
    assert len(hub.requests) == len(names), "all were asked at once, none after another's end"
    again = assess(assets[:1], [], tmp_path, machine, memo)
    assert (again[0].status, len(hub.requests)) == ("unreachable", len(names))


def test_one_slow_answer_does_not_hide_the_others(
    hub: Hub, machine: Machine, tmp_path: Path
) -> None:
    ask(machine, SMALL, memo=tmp_path / "other.json", deadline_s=30.0)
    hub.faults = [Fault("/api/datasets/", silent=True)]
    assets = [Asset("dataset", "org/texts"), Asset("model", SMALL), Asset("model", GATED)]
    found = assess(assets, [], tmp_path, machine, tmp_path / "memo.json", deadline_s=1.0)
    assert [access.status for access in found] == ["unreachable", "downloadable", "gated"]


def test_nobody_there_holds_for_every_name(hub: Hub, machine: Machine, tmp_path: Path) -> None:
    closed = dataclasses.replace(machine, endpoint="http://127.0.0.1:9")
    memo = tmp_path / "memo.json"
    access = ask(closed, SMALL, memo=memo, deadline_s=30.0)
    assert access.status == "unreachable"
    assert access.reason == (
        f"{ABSENT}, and 127.0.0.1:9 cannot be reached: [Errno 111] Connection refused"
    )
    assert list(json.loads(memo.read_text())) == ["http://127.0.0.1:9 - endpoint *"]
    other = ask(closed, "org/other", memo=memo)
    assert (other.status, other.reason) == ("unreachable", access.reason)


def test_a_network_that_swallows_everything(machine: Machine, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = server.getsockname()
        for _ in range(3):  # with these its queue is full, and Linux answers nobody any more
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(address)
        silent = dataclasses.replace(machine, endpoint=f"http://127.0.0.1:{address[1]}")
        access = ask(silent, SMALL, memo=tmp_path / "memo.json", deadline_s=1.0)
    assert access.status == "unreachable"
    assert access.reason == f"{ABSENT}, and {silent.host} cannot be reached: no answer"
    assert list(json.loads((tmp_path / "memo.json").read_text())) == [
        f"{silent.endpoint} - endpoint *"
    ]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "30"}, 30),
        ({"Retry-After": " 0 "}, 0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0),
        ({"RateLimit": '"api";r=0;t=55', "Retry-After": "9"}, 55),
        ({"RateLimit": '"api";r=7;t=55'}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "9" * 400}, None),
        ({}, None),
    ],
)
def test_how_long_the_hub_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    error = RuntimeError()
    error.response = types.SimpleNamespace(headers=headers)  # type: ignore[attr-defined]
    assert retry_after(error) == seconds


@pytest.mark.parametrize("endpoint", ["mirror", "ftp://mirror", "http://"])
def test_an_endpoint_that_is_no_address(endpoint: str, machine: Machine, tmp_path: Path) -> None:
    machine = dataclasses.replace(machine, endpoint=endpoint)
    access = ask(machine, SMALL, memo=tmp_path / "memo.json")
    assert (access.status, access.remedy) == ("unreachable", "is HF_ENDPOINT right?")
