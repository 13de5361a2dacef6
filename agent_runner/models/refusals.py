"""What a refusal or a failure of the hub means for a repository, in words, never with the token in them."""

from __future__ import annotations

import contextlib
import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from agent_runner.models.answer import Answer
from agent_runner.models.assets import Kind
from agent_runner.models.machine import Machine

if TYPE_CHECKING:
    import httpx2

WORDS = {"model": "model", "dataset": "data set"}

_RETRIED = frozenset({408, 429, 500, 502, 503, 504})


class OutOfTime(Exception):
    """The deadline passed while the hub was answering."""


class NotTheHub(Exception):
    """An answer that no hub gives."""


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed a moment later."""
    import httpx2

    status = status_of(error)
    if status is not None:
        return status in _RETRIED
    return isinstance(
        error, httpx2.NetworkError | httpx2.TimeoutException | httpx2.RemoteProtocolError
    )


def is_nobody(error: BaseException) -> bool:
    """Whether no connection came about, so that it is the same for every name."""
    import httpx2

    return isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)


def retry_after(error: BaseException) -> float | None:
    """Seconds that the hub asked to wait, None where it did not say."""
    response = getattr(error, "response", None)
    if response is None:
        return None
    # The newer header: `"api";r=0;t=55` says that no request is left, for 55 seconds.
    if spent := re.search(r";\s*r=0\s*;\s*t=(\d{1,9})", response.headers.get("RateLimit", "")):
        return float(spent[1])
    value = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}", value, re.ASCII):
        return float(value)
    with contextlib.suppress(ValueError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    return None


def page(kind: Kind, name: str, machine: Machine) -> str:
    """Where a person reads about a repository and accepts its licence."""
    return f"{machine.shown_endpoint}/{'datasets/' if kind == 'dataset' else ''}{name}"


def refusal(error: BaseException, kind: Kind, name: str, machine: Machine) -> Answer:
    """What an error of the hub or of the way to it means for a repository, without the token in it."""
    import httpx2

    if machine.token and isinstance(error, UnicodeEncodeError | httpx2.LocalProtocolError):
        return _bad_token(machine)  # it cannot even be sent
    status = status_of(error)
    if status is None or status in _RETRIED or status >= 500:
        return _unreachable(error, status, machine)
    response: httpx2.Response = error.response  # type: ignore[attr-defined]
    code = response.headers.get("X-Error-Code", "")
    said = _said(error, machine)
    if code == "GatedRepo":
        return _gated(kind, name, machine)
    if (
        status == 401
        and machine.token
        and (code != "RepoNotFound" or "credentials" in said.lower())
    ):
        return _bad_token(machine)
    if status in (401, 404) and code not in ("EntryNotFound", "RevisionNotFound"):
        return _not_found(kind, name, machine)
    if status == 404:
        return Answer(
            status="not_found",
            reason=f"{machine.host} no longer has this revision or a file of it"
            + (f" ({said})" if said else ""),
            remedy="look again in a few minutes",
        )
    if status == 403:
        return _forbidden(kind, name, machine, said)
    return Answer(status="unreachable", reason=f"{machine.host} answered {status} ({said})")


def _gated(kind: Kind, name: str, machine: Machine) -> Answer:
    where = page(kind, name, machine)
    if machine.token is None:
        return Answer(
            status="gated",
            gated=True,
            reason="it is gated: its licence has to be accepted, and there is no token",
            remedy=f"accept the licence at {where} and set HF_TOKEN to a token of that account",
        )
    return Answer(
        status="forbidden",
        gated=True,
        reason="it is gated, and the account of this machine's token has no access to it",
        remedy=f"accept the licence at {where} with the account that the token belongs to "
        "(some are granted by a person, later), or set HF_TOKEN to a token of an account with access",
    )


def _bad_token(machine: Machine) -> Answer:
    return Answer(
        status="forbidden",
        reason=f"{machine.host} does not accept this machine's token: "
        "it has expired, was revoked or is mistyped",
        remedy=f"make a new token at {machine.shown_endpoint}/settings/tokens and set HF_TOKEN to it, "
        "or unset it if everything needed is public",
    )


def _not_found(kind: Kind, name: str, machine: Machine) -> Answer:
    private = (
        "or it is private and this machine's token may not see it"
        if machine.token
        else "or it is private and there is no token"
    )
    return Answer(
        status="not_found",
        reason=f"{machine.host} has no {WORDS[kind]} of this name, {private}",
        remedy="correct the name, or set HF_TOKEN to a token that may see it",
    )


def _forbidden(kind: Kind, name: str, machine: Machine, said: str) -> Answer:
    return Answer(
        status="forbidden",
        reason=f"{machine.host} refuses it to {'this token' if machine.token else 'everybody without a token'}"
        + (f": {said}" if said else ""),
        remedy=f"see {page(kind, name, machine)} and the permissions of the token at "
        f"{machine.shown_endpoint}/settings/tokens",
    )


def _unreachable(error: BaseException, status: int | None, machine: Machine) -> Answer:
    import httpx2

    wrong_place = isinstance(error, NotTheHub | httpx2.UnsupportedProtocol | httpx2.InvalidURL)
    asked = retry_after(error)
    if status == 429:
        wait = f", and asks to wait {asked:.0f} s" if asked else ""
        reason = f"{machine.host} answers 429: too many requests{wait}"
    elif status is not None:
        reason = f"{machine.host} is out of order: it answers {status}"
    elif isinstance(error, NotTheHub):
        reason = f"{machine.host} does not answer as the hub does: {error}"
    elif isinstance(error, OutOfTime | httpx2.ReadTimeout):
        reason = f"{machine.host} did not answer in time"
    elif isinstance(error, httpx2.ConnectTimeout):
        reason = f"{machine.host} cannot be reached: no answer"
    else:
        reason = f"{machine.host} cannot be reached: {scrub(str(error) or type(error).__name__, machine)}"
    return Answer(
        status="unreachable",
        reason=reason,
        remedy="is HF_ENDPOINT right?" if wrong_place else "",
        endpoint_down=is_nobody(error),
        retry_after=asked or 0.0,
    )


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error is about; None where there was no answer."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _said(error: BaseException, machine: Machine) -> str:
    """What the hub itself says about an error, in one short line."""
    said = getattr(error, "server_message", None) or ""
    return scrub(" ".join(str(said).split())[:200], machine)


def scrub(text: str, machine: Machine) -> str:
    return text.replace(machine.token, "<token>") if machine.token else text
