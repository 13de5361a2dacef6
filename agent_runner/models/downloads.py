"""Fetching a model or data set into the hub's cache, by a process of its own that can be ended at any time."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from agent_runner.models import failed, needs
from agent_runner.models.machine import Machine
from agent_runner.models.memo import Memo
from agent_runner.models.refusals import scrub
from agent_runner.records import Access

_POLL_S = 0.2  # how often `cancelled` is asked
_GRACE_S = 5.0
# All that the process is given of the environment: where Python and the network are, no secret of the server.
_PASSED = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "VIRTUAL_ENV", "LD_LIBRARY_PATH"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUESTS_CA_BUNDLE"),
)


def download(
    access: Access,
    machine: Machine,
    *,
    memo: Path | None = None,
    progress: Callable[[str, str], None] = lambda label, detail: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Access:
    """Fetch a `downloadable` model or data set into the hub's cache, and verify every file of it.

    Returns the same access `ready`, or with why it is not: `not_cached` where it was cancelled or broke off
    (what was fetched is kept, and the next download goes on from there), `gated`, `forbidden`, `not_found`,
    `unreachable`, `no_disk`, or `damaged` where a file is not what the hub says it is, even the second time.
    memo: the file where `assess` remembers answers of the hub; None: in this process. A failure is put down
    there, so that for some minutes, more each time, `assess` tells it and the model is not fetched again.
    progress is called with what is going on and how far it is. An access of another status is returned as is.
    """
    if access.status != "downloadable":
        return access
    label = f"download {access.name}"
    progress(label, f"{needs.amount(access.download_bytes or 0)} to fetch from {machine.host}")
    with tempfile.TemporaryFile() as errors:
        process = _start(access, machine, errors)
        try:
            outcome = _follow(process, label, progress, cancelled)
        finally:
            _end(process)
        if outcome["status"] == "lost":
            outcome = _lost(process, errors)
    done = _outcome(access, outcome, machine)
    if done.status == "ready":
        failed.forget(access.kind, access.name, machine, Memo(memo))
    elif outcome["status"] != "cancelled":
        wait = float(outcome.get("retry_after") or 0.0)
        done = failed.remember(done, machine, Memo(memo), retry_after=wait)
    progress(label, "ready" if done.status == "ready" else scrub(done.reason, machine))
    return done


def _start(access: Access, machine: Machine, errors: IO[bytes]) -> subprocess.Popen[bytes]:
    request = {
        "name": access.name,
        "kind": access.kind,
        "revision": access.revision,
        "endpoint": machine.endpoint,
        "cache": str(machine.hub_cache),
    }
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "agent_runner.models.fetch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=_environment(os.environ, machine),
        start_new_session=True,
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        # Kept open afterwards: its end tells the process that nobody waits for it any more.
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
    return process


def _environment(environment: Mapping[str, str], machine: Machine) -> dict[str, str]:
    """The token is here and nowhere else: a command line can be read by every user of the machine."""
    package = Path(__file__).resolve().parents[2]
    inherited = environment.get("PYTHONPATH")
    env = {name: environment[name] for name in _PASSED if name in environment}
    env |= {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(package), inherited))),
        "HF_ENDPOINT": machine.endpoint,
        "HF_HUB_CACHE": str(machine.hub_cache),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "PYTHONUNBUFFERED": "1",
    }
    return env | ({"HF_TOKEN": machine.token} if machine.token else {})


def _follow(
    process: subprocess.Popen[bytes],
    label: str,
    progress: Callable[[str, str], None],
    cancelled: Callable[[], bool],
) -> Mapping[str, Any]:
    """Pass on what the process says until it says how it ended."""
    assert process.stdout is not None
    for line in _lines(process.stdout):
        if line is None:
            if cancelled():
                return {"status": "cancelled"}
            continue
        with contextlib.suppress(ValueError):
            said = json.loads(line)
            if "progress" in said:
                progress(label, str(said["progress"]))
            elif "status" in said:
                return dict(said)
    return {"status": "lost"}


def _lost(process: subprocess.Popen[bytes], errors: IO[bytes]) -> Mapping[str, Any]:
    """How a process ended that did not say so, and its last words."""
    code = process.returncode
    how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    errors.seek(0)
    words = errors.read()[-400:].decode(errors="replace").strip().splitlines()
    said = f": {words[-1]}" if words else ""
    return {
        "status": "lost",
        "reason": f"the process that fetched it ended by itself ({how}){said}",
    }


def _lines(stream: IO[bytes]) -> Iterator[bytes | None]:
    """Lines as they come; None now and then, also while they come."""
    descriptor = stream.fileno()
    os.set_blocking(descriptor, False)
    pending = b""
    last = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            ready = selector.select(_POLL_S)
            if not ready or time.monotonic() - last > _POLL_S:
                last = time.monotonic()
                yield None
            if not ready:
                continue
            data = os.read(descriptor, 65536)
            if not data:
                return
            *whole, pending = (pending + data).split(b"\n")
            yield from whole


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing of the process is left behind."""
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(OSError):
        process.stdin.close()  # a process that has said how it ended stops by this
    try:
        process.wait(timeout=_GRACE_S if process.poll() is None else 0)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    process.stdout.close()


def _outcome(access: Access, outcome: Mapping[str, Any], machine: Machine) -> Access:
    status = outcome["status"]
    reason = scrub(str(outcome.get("reason", "")), machine)
    remedy = scrub(str(outcome.get("remedy", "")), machine)
    if status == "ready":
        return access.model_copy(
            update={"status": "ready", "reason": "", "remedy": "", "download_bytes": None}
        )
    if status in ("cancelled", "lost"):
        broken = reason or "its download was cancelled"
        return access.model_copy(
            update={
                "status": "not_cached",
                "reason": f"{broken}; what was fetched is kept",
                "remedy": "start it again: it goes on from there",
            }
        )
    return access.model_copy(update={"status": status, "reason": reason, "remedy": remedy})
