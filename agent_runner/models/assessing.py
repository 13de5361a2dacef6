"""Whether each model and data set can be used on this machine now, and what is in the way where it cannot."""

from __future__ import annotations

import difflib
import os
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_runner.models import cached, failed, hub, needs
from agent_runner.models.answer import Answer
from agent_runner.models.assets import Asset, Kind, unique
from agent_runner.models.machine import Machine
from agent_runner.models.memo import Memo, key
from agent_runner.models.refusals import WORDS
from agent_runner.records import Access, ModelSpec

_AT_ONCE = 16  # requests
_SPARE_DISK = 64 * 2**20  # bytes that a download leaves free

Named = tuple[Kind, str]


def assess(
    assets: Sequence[Asset],
    specs: Sequence[ModelSpec],
    template: Path,
    machine: Machine,
    memo: Path | None,
    *,
    deadline_s: float = 2.0,
) -> tuple[Access, ...]:
    """Say of each model and data set, once, in order, whether it can be used here now, and why not.

    specs: of the template's models, which say what they need. template: the folder that the paths of shipped
    models are relative to. memo: the file where answers of the hub are remembered; None: in this process.
    The hub is asked about all at once, for `deadline_s` seconds together; what it has not answered by then is
    `unreachable`, unless it is on this machine already. Never raises.
    """
    by_name = {spec.name: spec for spec in specs}
    named = unique(assets)
    shipped = {name for name, spec in by_name.items() if spec.path is not None}
    on_hub = [
        (kind, name)
        for kind, name in named
        if not (kind == "model" and name in shipped) and not _is_local(template, name)
    ]
    answers = _answers(on_hub, machine, Memo(memo), deadline_s)
    case = _Case(machine, template, by_name, answers)
    return tuple(case.access(kind, name) for kind, name in named)


def _answers(
    named: Sequence[Named], machine: Machine, memo: Memo, deadline_s: float
) -> dict[Named, Answer]:
    """What the hub says, or said a while ago, or how a download failed; nothing for what is not to be asked."""
    if machine.offline:
        return {}
    down_key = key(machine, "endpoint", "*")
    down = memo.get(down_key)
    known = {
        asset: failed.failure(*asset, machine, memo) or memo.get(key(machine, *asset)) or down
        for asset in named
    }
    to_ask = [asset for asset, answer in known.items() if answer is None]
    fresh = _ask_all(to_ask, machine, deadline_s)
    new = {key(machine, *asset): answer for asset, answer in fresh.items()}
    silent = all(answer.status == "unreachable" for answer in fresh.values())
    if silent and (broken := next((a for a in fresh.values() if a.endpoint_down), None)):
        new = {name: a for name, a in new.items() if not a.endpoint_down} | {down_key: broken}
    if hub.loaded.is_set():
        memo.put(new)
    return {asset: answer for asset, answer in known.items() if answer is not None} | fresh


def _ask_all(assets: Sequence[Named], machine: Machine, deadline_s: float) -> dict[Named, Answer]:
    """Ask about all at once, for so many seconds together.

    The threads are daemons and have deadlines of their own: one that hangs delays neither this nor the
    end of the process.
    """
    end = time.monotonic() + deadline_s
    waiting: queue.SimpleQueue[Named] = queue.SimpleQueue()
    answered: queue.SimpleQueue[tuple[Named, Answer]] = queue.SimpleQueue()
    for asset in assets:
        waiting.put(asset)

    def work() -> None:
        while True:
            try:
                asset = waiting.get_nowait()
            except queue.Empty:
                return
            answered.put((asset, hub.ask(*asset, machine, max(0.0, end - time.monotonic()))))

    for _ in range(min(len(assets), _AT_ONCE)):
        threading.Thread(target=work, name="hub", daemon=True).start()
    answers: dict[Named, Answer] = {}
    while len(answers) < len(assets):
        try:
            asset, answer = answered.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        answers[asset] = answer
    late = Answer(
        status="unreachable", reason=f"{machine.host} did not answer within {deadline_s:g} s"
    )
    return {asset: answers.get(asset, late) for asset in assets}


@dataclass(frozen=True)
class _Case:
    """All that is known when the accesses are decided."""

    machine: Machine
    template: Path
    specs: Mapping[str, ModelSpec]
    answers: Mapping[Named, Answer]

    def access(self, kind: Kind, name: str) -> Access:
        spec = self.specs.get(name) if kind == "model" else None
        if spec is not None and spec.path is not None:
            base = self._shipped(spec)
        elif _is_local(self.template, name):
            base = Access(
                name=name, kind=kind, status="ready", reason="it is a folder of the template"
            )
        else:
            base = self._hub(kind, name)
        if kind == "dataset" or base.status == "not_found":
            return base
        return self._fitted(base, spec or ModelSpec(name=name))

    def _shipped(self, spec: ModelSpec) -> Access:
        if os.path.isfile(self.template / str(spec.path) / "config.json"):
            return Access(name=spec.name, status="ready", reason="it is part of the template")
        return Access(
            name=spec.name,
            status="not_found",
            reason=f"its folder {spec.path} is missing from the template",
            remedy="restore the template's folder",
        )

    def _hub(self, kind: Kind, name: str) -> Access:
        answer = self.answers.get((kind, name))
        here = cached.look(self.machine.hub_cache, kind, name)
        if here.whole:
            reason = ""
            if answer is not None and answer.status in ("gated", "forbidden", "not_found"):
                reason = f"on this machine already; the hub would refuse it now: {answer.reason}"
            elif answer is not None and answer.gated:
                reason = "it is gated, and on this machine already"
            return Access(
                name=name, kind=kind, status="ready", reason=reason, revision=here.revision
            )
        if answer is None:
            return self._not_cached(
                kind, name, here.problem, "the hub is not to be asked (offline)"
            )
        if answer.status == "accessible":
            return self._fetchable(kind, name, answer, here.problem)
        unknown = answer.status == "not_found" and not answer.failures
        hint = self._near(name) if unknown else ""
        remedy = "; ".join(part for part in (hint, answer.remedy) if part)
        if answer.status == "unreachable":
            remedy = remedy or "try again later, or " + self._command(kind, name)
            reason = f"{_absence(kind, here.problem)}, and {answer.reason}"
            return Access(name=name, kind=kind, status="unreachable", reason=reason, remedy=remedy)
        return Access(
            name=name, kind=kind, status=answer.status, reason=answer.reason, remedy=remedy
        )

    def _fetchable(self, kind: Kind, name: str, answer: Answer, problem: str | None) -> Access:
        folder = cached.repository_folder(self.machine.hub_cache, kind, name)
        digests = {file.digest: file.size for file in answer.files}
        size = cached.missing_bytes(folder, digests) if digests else answer.size
        access = Access(
            name=name,
            kind=kind,
            status="downloadable",
            reason=f"{_absence(kind, problem)}; {needs.amount(size)} would be fetched first",
            revision=answer.revision,
            download_bytes=size,
        )
        if not self.machine.downloads:
            refused = self._not_cached(kind, name, problem, "downloads are not allowed")
            return refused.model_copy(update={"revision": answer.revision, "download_bytes": size})
        free = self.machine.free_disk_bytes
        if free is not None and size + _SPARE_DISK > free:
            return access.model_copy(
                update={
                    "status": "no_disk",
                    "reason": f"{needs.amount(size)} would have to be fetched, and "
                    f"{needs.amount(free)} of disk are free at {self.machine.hub_cache}",
                    "remedy": "free disk space, or set HF_HUB_CACHE to a folder on a larger disk",
                }
            )
        return access

    def _not_cached(self, kind: Kind, name: str, problem: str | None, why: str) -> Access:
        allow = ", or unset HF_HUB_OFFLINE" if self.machine.offline else ", or allow downloads"
        return Access(
            name=name,
            kind=kind,
            status="not_cached",
            reason=f"{_absence(kind, problem)}, and {why}",
            remedy=self._command(kind, name) + allow,
        )

    def _command(self, kind: Kind, name: str) -> str:
        option = " --repo-type dataset" if kind == "dataset" else ""
        return f"fetch it on a machine with network: `hf download {name}{option}`"

    def _near(self, name: str) -> str:
        """A name of the template that the one asked for may have been meant for."""
        ends = {known.lower().split("/")[-1]: known for known in self.specs if known != name}
        close = difflib.get_close_matches(name.lower().split("/")[-1], ends, n=1, cutoff=0.75)
        return f"did you mean {ends[close[0]]}?" if close else ""

    def _fitted(self, access: Access, spec: ModelSpec) -> Access:
        """The same with the memory it takes; refused where this machine cannot run it."""
        machine = self.machine
        answer = self.answers.get(("model", access.name))
        stored = cached.look(machine.hub_cache, "model", access.name).weight_bytes
        spec = needs.effective(spec, machine)
        if answer is not None and not spec.parameters:
            spec = spec.model_copy(update={"parameters": answer.parameters})
        needed = needs.memory_bytes(spec, weight_bytes=stored or (answer.size if answer else 0))
        access = access.model_copy(update={"memory_bytes": needed or None})
        if spec.needs_gpu and machine.gpu_free_bytes is None:
            return _refused(access, "needs_gpu", "it is run on a GPU only, and there is none here")
        if problem := needs.obstacle(spec, needed, machine):
            return _refused(access, "too_large", problem)
        return access


def _is_local(template: Path, name: str) -> bool:
    """Whether a name is that of a folder of the template; every library takes it for that first."""
    return not os.path.isabs(name) and ".." not in name and os.path.isdir(template / name)


def _refused(access: Access, status: str, reason: str) -> Access:
    """Refused for what this machine lacks; what else is in the way is said, too."""
    remedy = (
        "use a machine with a GPU" if status == "needs_gpu" else "use a machine with more memory"
    )
    if access.usable:
        return access.model_copy(update={"status": status, "reason": reason, "remedy": remedy})
    return access.model_copy(
        update={
            "status": status,
            "reason": f"{reason}; besides, {access.reason}",
            "remedy": f"{remedy}; besides, {access.remedy}" if access.remedy else remedy,
        }
    )


def _absence(kind: Kind, problem: str | None) -> str:
    return problem or f"it is not in this machine's {WORDS[kind]} cache"
