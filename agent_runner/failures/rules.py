"""How an exception is matched with a row of the catalogue.

`catalogue.SPECIFIC` knows exceptions by what they say; `catalogue.BY_TYPE` only by what they are called. The
first row that fits wins. Work is bounded: of a long message only its head and tail are searched.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agent_runner.failures.raised import Chain, Raised
from agent_runner.failures.text import clean_output, shorten

_SEARCH_HEAD, _SEARCH_TAIL = 4000, 1000
_NAME_LIMIT = 120
_VAGUE = frozenset({"runtime_error", "os_error", "uncaught_exception"})
NO_ADVICE = "Read the message and mend the cause at {where}."


@dataclass(frozen=True)
class Rule:
    """One row: an exception of one of `types` (none: any) whose message fits `pattern` is of `kind`.

    `remedy` may name `{where}` (file:line), `{code}` and the named groups of the pattern.
    """

    kind: str
    types: frozenset[str]
    pattern: re.Pattern[str] | None
    remedy: str


@dataclass(frozen=True)
class Verdict:
    """The exception of a chain that decides, what it is, and the advice for it (not yet filled in)."""

    raised: Raised
    kind: str
    remedy: str
    values: dict[str, str]


def row(kind: str, types: str, patterns: Sequence[str], remedy: str) -> Rule:
    """Build a row. `types` are separated by spaces, `patterns` are alternatives."""
    compiled = re.compile("|".join(patterns)) if patterns else None
    return Rule(kind, frozenset(types.split()), compiled, remedy)


def judge(raised: Raised, rules: Sequence[Rule]) -> Verdict | None:
    """Return what the first fitting row says of one exception, or None.

    The first paragraph of the message is tried by itself before the rest: what follows it may be
    another program's output.
    """
    for text in _views(raised.message):
        for rule in rules:
            if rule.types and raised.name not in rule.types:
                continue
            if rule.pattern is None:
                return Verdict(raised, rule.kind, rule.remedy, {})
            found = rule.pattern.search(text)
            if found:
                return Verdict(raised, rule.kind, rule.remedy, _values(found))
    return None


def classify(chain: Chain, specific: Sequence[Rule], by_type: Sequence[Rule]) -> Verdict:
    """Return the verdict on a chain (which must not be empty).

    The exception that ended the program decides when its own message is telling. Otherwise the first
    telling one among its causes does; among exceptions it merely followed (`context`), only when the
    last one says nothing by itself (a bare RuntimeError or OSError). One that `from None` hides decides
    only by its message, not by its type.
    """
    outer = chain[0]
    direct = judge(outer, specific)
    if direct is not None:
        return direct
    general = judge(outer, by_type)
    vague = general is None or general.kind in _VAGUE
    for raised in chain[1:]:
        if raised.relation in ("context", "suppressed") and not vague:
            break
        found = judge(raised, specific)
        if found is not None:
            return found
    if vague:
        for raised in chain[1:]:
            found = judge(raised, by_type) if raised.relation != "suppressed" else None
            if found is not None and found.kind not in _VAGUE:
                return found
    if general is None:
        return Verdict(outer, "uncaught_exception", NO_ADVICE, {})
    return general


def fill(remedy: str, values: dict[str, str], where: str, code: str | None) -> str:
    """Put the facts into a remedy. A fact that is not known is left out in words."""
    known = _Known(values, where=where, code=f"`{code}`" if code else "the line")
    return remedy.format_map(known)


class _Known(dict[str, str]):
    """Values for a remedy; a name that the pattern did not capture reads as `it`."""

    def __missing__(self, key: str) -> str:
        return "it"


def _views(message: str) -> tuple[str, ...]:
    text = message.strip("\n")
    first = text.split("\n\n", 1)[0][:_SEARCH_HEAD]
    if len(text) > _SEARCH_HEAD + _SEARCH_TAIL:
        text = f"{text[:_SEARCH_HEAD]}\n{text[-_SEARCH_TAIL:]}"
    return (first,) if first == text else (first, text)


def _values(found: re.Match[str]) -> dict[str, str]:
    """Return what the pattern captured. An alternative may repeat a name with a number (`name2`)."""
    return {
        key.rstrip("0123456789"): shorten(clean_output(value), _NAME_LIMIT).replace("\n", " ")
        for key, value in found.groupdict().items()
        if value is not None
    }
