"""What the program printed before the exception that ended it: exceptions that may be its true cause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agent_runner.failures.draft import where
from agent_runner.failures.evidence import Evidence
from agent_runner.failures.location import Places, locate
from agent_runner.failures.raised import Chain, Raised
from agent_runner.failures.text import shorten
from agent_runner.failures.tracebacks import Event, printed_events

_HANDLER_LINES = 20  # at most so far below the failing line an `except` raises its own exception


def with_logged(chain: Chain, evidence: Evidence) -> Chain:
    """Add the exception that was caught, printed and answered by the one that ended the program.

    `logging.exception(...)` and then `raise JobFailed(...) from None`, or after the `except`, leave no
    link between the two. They belong together where the function that raises the second is the one
    that caught the first, a few lines above.
    """
    last = chain[-1]
    if len(chain) > 1 or not last.frames or not (last.frames[-1].code or "").startswith("raise "):
        return chain
    for event in reversed(_events(evidence)):
        if _is_same(event.chain[0], last):
            continue
        return (last, *_as_context(event.chain)) if _was_caught(event.chain[0], last) else chain
    return chain


def side_note(chain: Chain, evidence: Evidence, places: Places) -> str:
    """Return a sentence about a thread or child that ended before by an exception, or nothing."""
    for event in reversed(_events(evidence)):
        first = event.chain[0]
        if event.beside and not any(_is_same(first, raised) for raised in chain):
            at = where(locate(first, tuple(event.chain), places))
            said = shorten(f"{first.name}: {first.message}".split("\n", 1)[0], 200)
            return (
                f" Before it, {event.beside} ended by {said} at {at}: if what is missing here should have "
                "come from there, mend that first."
            )
    return ""


def _events(evidence: Evidence) -> list[Event]:
    return printed_events(evidence.clean_stderr) or printed_events(evidence.clean_stdout)


def _is_same(printed: Raised, raised: Raised) -> bool:
    head = printed.message.strip()[:80]
    return printed.name == raised.name and raised.message.strip().startswith(head)


def _was_caught(printed: Raised, raised: Raised) -> bool:
    """Say whether the function that raised one exception had caught the other: its traceback begins there."""
    if not printed.frames:
        return False
    catcher, raiser = printed.frames[0], raised.frames[-1]
    same = catcher.file == raiser.file and catcher.function == raiser.function
    below = (raiser.line or 0) - (catcher.line or 0)
    return same and 0 < below <= _HANDLER_LINES


def _as_context(chain: Sequence[Raised]) -> Chain:
    return (replace(chain[0], relation="context"), *chain[1:])
