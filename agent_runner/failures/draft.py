"""A failure before it is bounded, cleaned and priced: the one place where those three are done."""

from __future__ import annotations

from dataclasses import dataclass

from agent_runner.failures.charging import Circumstance, charges
from agent_runner.failures.raised import Chain
from agent_runner.failures.text import clean_output, shorten, without_secrets
from agent_runner.records import Cause, Failure, Location

_EVIDENCE_LINES, _EVIDENCE_WIDTH = 12, 300
_CAUSE_LIMIT, _REMEDY_LIMIT = 300, 900


@dataclass(frozen=True)
class Draft:
    """What a failure is, found by whichever part knew it. `priced_as`: the kind that decides the charge."""

    kind: str
    message: str
    remedy: str
    circumstance: Circumstance = ""
    priced_as: str | None = None
    exception_type: str | None = None
    location: Location | None = None
    chain: Chain = ()
    evidence: tuple[str, ...] = ()
    phase: str | None = None

    def finish(self) -> Failure:
        """Return the record: every text cleaned, bounded and without secrets, the charge decided."""
        charged, reason = charges(self.priced_as or self.kind, self.circumstance)
        chain = self.chain if len(self.chain) > 1 else ()
        lines = (shorten(_shown(line), _EVIDENCE_WIDTH) for line in self.evidence)
        return Failure(
            kind=self.kind,
            exception_type=shorten(clean_output(self.exception_type), 200)
            if self.exception_type
            else None,
            message=shorten(_shown(self.message).strip()),
            location=_without_secrets(self.location),
            cause_chain=tuple(
                Cause(
                    type=shorten(clean_output(item.type), 200),
                    message=shorten(_shown(item.message).strip(), _CAUSE_LIMIT),
                )
                for item in chain
            ),
            phase=self.phase,
            evidence=tuple(lines)[:_EVIDENCE_LINES],
            remedy=shorten(_shown(self.remedy), _REMEDY_LIMIT),
            charged=charged,
            charged_reason=reason,
        )


def _shown(text: str) -> str:
    return without_secrets(clean_output(text))


def _without_secrets(location: Location | None) -> Location | None:
    if location is None or location.code is None:
        return location
    return location.model_copy(update={"code": without_secrets(location.code)})


def where(location: Location | None) -> str:
    """Return a location in words: `experiment.py:42 (in encode)`."""
    if location is None:
        return "the failing line"
    line = f":{location.line}" if location.line else ""
    function = (
        location.function if location.function and not location.function.startswith("<") else None
    )
    return f"{location.file}{line}" + (f" (in {function})" if function else "")
