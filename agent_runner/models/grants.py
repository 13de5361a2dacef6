"""Which model a run gets for each name it may ask for. Pure.

Decided before a run starts, so that a gated, missing or too large model never costs one. The agent's file is
not touched: the template's harness is told, per name, which model it was granted and why, or that it gets none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent_runner.models.assets import hub_datasets
from agent_runner.records import Access, ModelSpec, ModelUse

ANY_OTHER = "*"  # the key that answers for every name the template does not list

# What a person has to put right. A data set that is merely not here may still be read as a stream, or have been
# read before, so it does not keep a model from being used.
_REFUSED_DATA = frozenset({"gated", "forbidden", "not_found"})
_Refusal = tuple[str, str]  # reason, remedy

# Characters of a reason that also says why others were passed over, and of what it says of each.
_ALL_REASONS = 400
_OWN_REASON = 240
_EACH_REASON = 120


def grant(
    specs: Sequence[ModelSpec],
    accesses: Sequence[Access],
    *,
    fallback: bool = True,
    allowed: Sequence[str] = (),
) -> dict[str, ModelUse]:
    """For every model the template names, and `*`: which one a run gets.

    A model that cannot be used is replaced by the first one that can, in the order of `allowed`, or of `specs`
    where that is empty. allowed: the only names that may be used; none: all. `reason` says why the model was
    replaced, and shortly why those were passed over that come before the granted one; `remedy`, what a person
    can do so that the requested one can be used.

    Without `fallback`, or where none can be used, nothing is granted (`granted` is empty). One name may be
    replaced even so: the first of `specs`, which the template asks for by itself, where it is not `allowed`.
    That the idea uses another one was decided by who made it.
    Empty where the template names no models.
    """
    if not specs:
        return {}
    refusals = {spec.name: _refusal(spec, accesses, allowed) for spec in specs}
    order = [name for name in dict.fromkeys(allowed or refusals) if name in refusals]
    usable = [name for name in order if refusals[name] is None]
    first = usable[0] if usable else ""
    granted = {}
    for spec in specs:
        own = refusals[spec.name]
        if own is None:
            granted[spec.name] = ModelUse(requested=spec.name, granted=spec.name)
            continue
        narrowed = bool(allowed) and spec.name not in allowed and spec is specs[0]
        instead = first if fallback or narrowed else ""
        granted[spec.name] = _replaced(spec.name, instead, own, order, refusals)
    names = ", ".join(spec.name for spec in specs)
    unlisted = (
        f"not among the models of this template ({names})",
        f"use {' or '.join(usable)}" if usable else "make one of the template's models usable",
    )
    instead = first if fallback else ""
    granted[ANY_OTHER] = _replaced(ANY_OTHER, instead, unlisted, order, refusals)
    return granted


def available(accesses: Sequence[Access], allowed: Sequence[str] = ()) -> str:
    """One line per model, for an agent that has to choose another.

    allowed: the only names that its idea may use; none: all.
    """
    lines = []
    for access in accesses:
        if access.kind != "model":
            continue
        if allowed and access.name not in allowed:
            lines.append(f"- {access.name}: not for this idea")
        elif access.usable:
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


def _replaced(
    name: str,
    instead: str,
    own: _Refusal,
    order: Sequence[str],
    refusals: Mapping[str, _Refusal | None],
) -> ModelUse:
    """A name that stands for another model, or for none, and why; the remedy is that of this name only."""
    reason, remedy = own
    before = order[: order.index(instead)] if instead else []
    passed = [(other, refusals[other]) for other in before if other != name]
    parts = [
        f"{other}, next in order: {_short(refusal[0], _EACH_REASON)}"
        for other, refusal in passed
        if refusal is not None
    ]
    return ModelUse(
        requested=name,
        granted=instead,
        reason=_with(reason, parts) if parts else reason,
        remedy=remedy,
    )


def _with(reason: str, parts: Sequence[str]) -> str:
    """A reason and those of others, as many as there is room for."""
    text = _short(reason, _OWN_REASON)
    for done, part in enumerate(parts):
        if len(text) + len(part) > _ALL_REASONS:
            return f"{text}; and {len(parts) - done} more"
        text = f"{text}; {part}"
    return text


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 2].rstrip()} …"


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
