"""Which model a run gets for each name it may ask for. Pure.

Decided before a run starts, so that a gated, missing or too large model never costs one. The agent's file is
not touched: the template's harness is told, per name, which model it was granted and why, or that it gets none.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent_runner.models.assets import hub_datasets
from agent_runner.records import Access, ModelSpec, ModelUse

ANY_OTHER = "*"  # the key that answers for every name the template does not list

# What a person has to put right. A data set that is merely not here may still be read as a stream, or have been
# read before, so it does not keep a model from being used.
_REFUSED_DATA = frozenset({"gated", "forbidden", "not_found"})
_Refusal = tuple[str, str]  # reason, remedy


def grant(
    specs: Sequence[ModelSpec],
    accesses: Sequence[Access],
    *,
    fallback: bool = True,
    allowed: Sequence[str] = (),
) -> dict[str, ModelUse]:
    """For every model the template names, and `*`: which one a run gets.

    The order of `specs` is the order of preference. A model that cannot be used is replaced by the first one
    that can; `reason` and `remedy` say why and what a person can do. Without `fallback`, or where none can be
    used, nothing is granted (`granted` is empty). allowed: the only names that may be used; none: all.
    Empty where the template names no models.
    """
    if not specs:
        return {}
    refusals = {spec.name: _refusal(spec, accesses, allowed) for spec in specs}
    usable = [spec.name for spec in specs if refusals[spec.name] is None]
    instead = usable[0] if usable and fallback else ""
    granted = {}
    for spec in specs:
        reason, remedy = refusals[spec.name] or ("", "")
        got = instead if reason else spec.name
        granted[spec.name] = ModelUse(
            requested=spec.name, granted=got, reason=reason, remedy=remedy
        )
    names = ", ".join(spec.name for spec in specs)
    granted[ANY_OTHER] = ModelUse(
        requested=ANY_OTHER,
        granted=instead,
        reason=f"not among the models of this template ({names})",
        remedy=f"use {' or '.join(usable)}"
        if usable
        else "make one of the template's models usable",
    )
    return granted


def available(accesses: Sequence[Access]) -> str:
    """One line per model, for an agent that has to choose another."""
    lines = []
    for access in accesses:
        if access.kind != "model":
            continue
        if access.usable:
            later = " (fetched before the run starts)" if access.status == "downloadable" else ""
            lines.append(f"- {access.name}: can be used{later}")
        else:
            why = in_words(access.reason, access.remedy)
            lines.append(f"- {access.name}: cannot be used ({access.status}): {why}")
    return "\n".join(lines)


def in_words(reason: str, remedy: str) -> str:
    """What is in the way and what can be done about it, as one or two sentences."""
    sentences = [reason, f"What a person can do: {remedy}" if remedy else ""]
    return " ".join(f"{sentence.rstrip('. ')}." for sentence in sentences if sentence)


def _refusal(
    spec: ModelSpec, accesses: Sequence[Access], allowed: Sequence[str]
) -> _Refusal | None:
    if allowed and spec.name not in allowed:
        return (
            f"this idea may use only {', '.join(allowed)}",
            f"use {' or '.join(allowed)}, or make an idea that may use {spec.name}",
        )
    by_name = {(access.kind, access.name): access for access in accesses}
    access = by_name.get(("model", spec.name))
    if access is None:
        return "nobody looked whether it can be used on this machine", ""
    if not access.usable:
        return access.reason or access.status, access.remedy
    for name in hub_datasets(spec):
        data = by_name.get(("dataset", name))
        if data is not None and data.status in _REFUSED_DATA:
            return f"its data set {name} cannot be used: {data.reason}", data.remedy
    return None
