"""Asking the hub about a repository: the only place where the server uses `huggingface_hub`.

That library is imported when the hub is really asked, and only its records and its errors are used. Its `HfApi`
would first ask another endpoint which agent is calling, has no deadline, and goes by what the environment was
when it was imported; here `Machine` says where to ask, with which token, and whether at all.
"""

from __future__ import annotations

import functools
import importlib
import json
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import tenacity

from agent_runner.models.answer import Answer
from agent_runner.models.assets import Kind, is_repository
from agent_runner.models.machine import Machine
from agent_runner.models.refusals import (
    WORDS,
    NotTheHub,
    OutOfTime,
    is_nobody,
    is_transient,
    refusal,
    retry_after,
)
from agent_runner.models.wanted import Listed, wanted

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")

loaded = threading.Event()  # set once the library is imported, which may take longer than an answer

_ATTEMPTS = 6
_LONGEST_ANSWER = 64 * 1024 * 1024
_CONNECT_SHARE = 0.6  # of the time that is left: a silent network is then told from a slow hub


def ask(kind: Kind, name: str, machine: Machine, deadline_s: float) -> Answer:
    """Whether a repository can be had with this machine's token. Retries what may be, in time."""
    if not is_repository(name):
        return Answer(status="not_found", reason=f"{name!r} cannot be the name of a {WORDS[kind]}")
    end = time.monotonic() + deadline_s
    try:
        importlib.import_module("huggingface_hub.hf_api")  # the slow part of it
        loaded.set()
        return retried(
            lambda: _ask_once(kind, name, machine, end),
            stop=tenacity.stop_any(within(deadline_s), _NobodyThere()),
        )
    except Exception as error:  # whatever the library or the network thinks of: there is no answer
        return refusal(error, kind, name, machine)


def retried(
    call: Callable[[], T],
    *,
    stop: tenacity.stop.stop_base,
    first_wait_s: float = 0.1,
) -> T:
    """Do it again after 429, 5xx or a broken connection; never after 401, 403 or 404.

    The hub's `Retry-After` is waited for, where `stop` leaves the time for it.
    """
    policy = tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_transient),
        stop=stop,
        wait=_Wait(first_wait_s),
        reraise=True,
    )
    return policy(call)


def within(deadline_s: float) -> tenacity.stop.stop_base:
    """A few attempts, none of which begins after so many seconds."""
    return tenacity.stop_any(
        tenacity.stop_after_attempt(_ATTEMPTS), tenacity.stop_before_delay(deadline_s)
    )


class _NobodyThere(tenacity.stop.stop_base):
    """Stops where no connection comes about; the rest of the time is better spent on saying so."""

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        import httpx2

        outcome = retry_state.outcome
        error = outcome.exception() if outcome is not None else None
        if error is None or not is_nobody(error):
            return False
        return isinstance(error, httpx2.ConnectTimeout) or retry_state.attempt_number >= 3


class _Wait(tenacity.wait.wait_base):
    """As long as the hub asks for, else exponentially longer each time."""

    def __init__(self, first_s: float) -> None:
        self._usual = tenacity.wait_exponential_jitter(initial=first_s, max=20.0, jitter=first_s)

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        outcome = retry_state.outcome
        error = outcome.exception() if outcome is not None else None
        asked = retry_after(error) if error is not None else None
        return self._usual(retry_state) if asked is None else asked


@functools.cache
def client() -> httpx2.Client:
    """The HTTP client of this process; proxies and certificates are those of the environment."""
    import httpx2

    # Questions are rare: no connection is kept open for the next one.
    limits = httpx2.Limits(max_keepalive_connections=0)
    return httpx2.Client(follow_redirects=True, limits=limits)


def headers(token: str | None) -> dict[str, str]:
    """Headers of every request. The token goes to the endpoint only: a redirect elsewhere loses it."""
    sent = {"user-agent": "agent-runner", "accept-encoding": "identity"}
    return sent | ({"authorization": f"Bearer {token}"} if token else {})


def repository_url(kind: Kind, name: str, machine: Machine, revision: str | None = None) -> str:
    url = f"{machine.endpoint}/api/{kind}s/{name}"
    return f"{url}/revision/{quote(revision, safe='')}" if revision else url


def _ask_once(kind: Kind, name: str, machine: Machine, end: float) -> Answer:
    url = repository_url(kind, name, machine)
    listed = listing(kind, json_of(url, machine, end))
    if listed.gated:
        # What a gated repository holds may be listed by everybody; only this says who may fetch it.
        get(f"{url}/auth-check", machine, end)
    if kind == "model" and not listed.files:
        return Answer(
            status="not_found",
            reason="its repository has no weights that transformers can load "
            "(neither model*.safetensors nor pytorch_model*.bin)",
        )
    return Answer(
        status="accessible",
        gated=listed.gated,
        revision=listed.revision,
        files=listed.files if kind == "model" else (),
        size=sum(file.size for file in listed.files),
        parameters=listed.parameters,
    )


def json_of(url: str, machine: Machine, end: float) -> Any:
    """A description of a repository with the digests of its files, as it was sent.

    Raises:
        what `get` raises; NotTheHub: it is no JSON.
    """
    content = get(url, machine, end, blobs="true")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise NotTheHub("its answer is no JSON") from error


def get(url: str, machine: Machine, end: float, **params: str) -> bytes:
    """The body of an answer, read no longer than to `end` (of the monotonic clock).

    Raises:
        OutOfTime, NotTheHub, or an error of `huggingface_hub` or its HTTP client.
    """
    import httpx2
    from huggingface_hub import hf_raise_for_status

    left = _left(end)
    timeout = httpx2.Timeout(left, connect=left * _CONNECT_SHARE)
    with client().stream(
        "GET", url, params=params, headers=headers(machine.token), timeout=timeout
    ) as response:
        hf_raise_for_status(response)
        content = bytearray()
        for chunk in response.iter_bytes():
            content += chunk
            _left(end)
            if len(content) > _LONGEST_ANSWER:
                raise NotTheHub("its answer has no end")
    return bytes(content)


def listing(kind: Kind, value: Any) -> Listed:
    """What a description of a repository says.

    Raises:
        NotTheHub: it is none.
    """
    from huggingface_hub import DatasetInfo, ModelInfo

    try:
        kinds: dict[Kind, Any] = {"model": ModelInfo, "dataset": DatasetInfo}
        info = kinds[kind](**value)
        return wanted(kind, info)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotTheHub(f"its description of the {WORDS[kind]} cannot be read") from error


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise OutOfTime
    return left
