from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runner.models import ANY_OTHER, available, grant
from agent_runner.records import Access, ModelSpec, ModelUse

BIG = ModelSpec(name="org/big", corpus="org/texts")
SMALL = ModelSpec(name="org/small")
SHIPPED = ModelSpec(name="embedded", path="model")
SPECS = (BIG, SMALL, SHIPPED)

GATED = Access(name="org/big", status="gated", reason="it is gated", remedy="accept the licence")
GATED_SHIPPED = Access(name="embedded", status="gated", reason="because")
READY = [Access(name=spec.name, status="ready") for spec in SPECS]


def granted(uses: dict[str, ModelUse]) -> dict[str, str]:
    return {name: use.granted for name, use in uses.items()}


def test_each_usable_model_is_granted_and_anything_else_becomes_the_first() -> None:
    uses = grant(SPECS, READY)
    assert granted(uses) == {
        "org/big": "org/big",
        "org/small": "org/small",
        "embedded": "embedded",
        ANY_OTHER: "org/big",
    }
    assert [use.reason for use in uses.values()][:3] == ["", "", ""]
    assert "not among the models of this template" in uses[ANY_OTHER].reason
    assert uses[ANY_OTHER].remedy == "use org/big or org/small or embedded"


def test_one_that_cannot_be_used_is_replaced_with_the_reason() -> None:
    uses = grant(SPECS, [GATED, *READY[1:]])
    assert uses["org/big"] == ModelUse(
        requested="org/big",
        granted="org/small",
        reason="it is gated",
        remedy="accept the licence",
    )
    assert uses[ANY_OTHER].granted == "org/small"


def test_one_that_would_be_fetched_first_counts_as_usable() -> None:
    fetched = Access(name="org/big", status="downloadable")
    assert grant(SPECS, [fetched, *READY[1:]])["org/big"].granted == "org/big"


def test_without_fallback_nothing_is_replaced() -> None:
    uses = grant(SPECS, [GATED, *READY[1:]], fallback=False)
    assert granted(uses) == {
        "org/big": "",
        "org/small": "org/small",
        "embedded": "embedded",
        ANY_OTHER: "",
    }
    assert (uses["org/big"].reason, uses["org/big"].remedy) == ("it is gated", "accept the licence")
    assert uses[ANY_OTHER].reason and uses[ANY_OTHER].remedy


def test_only_allowed_names_are_granted() -> None:
    uses = grant(SPECS, READY, allowed=("embedded",))
    assert set(granted(uses).values()) == {"embedded"}
    assert uses["org/big"].reason == "this idea may use only embedded"


def test_the_order_of_the_allowed_is_that_of_preference() -> None:
    uses = grant(SPECS, READY, allowed=("embedded", "org/small"))
    assert granted(uses) == {
        "org/big": "embedded",
        "org/small": "org/small",
        "embedded": "embedded",
        ANY_OTHER: "embedded",
    }
    assert uses[ANY_OTHER].remedy == "use embedded or org/small"
    uses = grant(SPECS, [*READY[:2], GATED_SHIPPED], allowed=("embedded", "org/small"))
    assert granted(uses)["org/big"] == "org/small"
    assert uses["org/big"].reason == (
        "this idea may use only embedded, org/small; embedded, next in order: because"
    )


def test_narrowing_an_idea_is_no_fallback_for_what_the_template_asks_for() -> None:
    uses = grant(SPECS, READY, allowed=("embedded",), fallback=False)
    assert granted(uses) == {
        "org/big": "embedded",
        "org/small": "",
        "embedded": "embedded",
        ANY_OTHER: "",
    }
    uses = grant(SPECS, [*READY[:2], GATED_SHIPPED], allowed=("embedded",), fallback=False)
    assert set(granted(uses).values()) == {""}
    uses = grant(SPECS, [GATED, *READY[1:]], allowed=("org/big", "embedded"), fallback=False)
    assert granted(uses)["org/big"] == "", "it is allowed, and cannot be used: that is a fallback"


def test_all_that_were_passed_over_are_named() -> None:
    damaged = Access(name="org/small", status="damaged", reason="it is damaged", remedy="later")
    uses = grant(SPECS, [GATED, damaged, READY[2]])
    assert uses["org/big"].reason == "it is gated; org/small, next in order: it is damaged"
    assert uses["org/big"].remedy == "accept the licence"
    assert uses["org/small"].reason == "it is damaged; org/big, next in order: it is gated"
    assert uses["org/small"].remedy == "later"
    assert uses[ANY_OTHER].reason.endswith(
        "; org/big, next in order: it is gated; org/small, next in order: it is damaged"
    )
    refused = grant(SPECS, [GATED, damaged, READY[2]], fallback=False)
    assert refused["org/big"].reason == "it is gated", "nothing stands for it"


@given(st.integers(1, 12), st.integers(1, 700))
def test_a_reason_is_bounded(count: int, length: int) -> None:
    specs = [ModelSpec(name=f"org/{n}") for n in range(count + 1)]
    accesses = [
        Access(name=spec.name, status="damaged", reason="r" * length) for spec in specs[:-1]
    ]
    use = grant(specs, [*accesses, Access(name=specs[-1].name, status="ready")])["org/0"]
    assert use.granted == specs[-1].name
    if count == 1:
        assert use.reason == "r" * length
    else:
        assert len(use.reason) <= 420
        assert "org/1, next in order: r" in use.reason
        told = use.reason.count("next in order")
        assert told == count - 1 or use.reason.endswith(f"; and {count - 1 - told} more")


def test_nothing_usable_grants_nothing_and_says_why() -> None:
    uses = grant([BIG], [GATED])
    assert granted(uses) == {"org/big": "", ANY_OTHER: ""}
    assert uses["org/big"].reason == "it is gated"


def test_a_template_without_models() -> None:
    assert grant([], []) == {}


def test_a_model_that_nobody_looked_for_is_not_granted() -> None:
    assert grant([BIG], [])["org/big"].granted == ""


@pytest.mark.parametrize(
    ("status", "usable"),
    [
        ("gated", False),
        ("not_found", False),
        ("forbidden", False),
        ("unreachable", True),  # it may have been read before
        ("no_disk", True),  # it may be read as a stream
        ("ready", True),
    ],
)
def test_a_data_set_that_nobody_may_have_keeps_its_model_from_being_used(
    status: str, usable: bool
) -> None:
    data = Access.model_validate(
        {"name": "org/texts", "kind": "dataset", "status": status, "reason": "because"}
    )
    use = grant(SPECS, [*READY, data])["org/big"]
    assert (use.granted == "org/big") is usable
    assert usable or use.reason == "its data set org/texts cannot be used: because"


@given(
    st.lists(st.sampled_from(["ready", "downloadable", "gated", "too_large"]), min_size=3),
    st.booleans(),
    st.lists(st.sampled_from([spec.name for spec in SPECS]), unique=True),
)
def test_only_what_can_be_used_is_ever_granted(
    statuses: list[str], fallback: bool, allowed: list[str]
) -> None:
    accesses = [
        Access.model_validate({"name": spec.name, "status": status, "reason": "r"})
        for spec, status in zip(SPECS, statuses, strict=False)
    ]
    usable = {a.name for a in accesses if a.usable and (not allowed or a.name in allowed)}
    preferred = [name for name in allowed or [spec.name for spec in SPECS] if name in usable]
    uses = grant(SPECS, accesses, fallback=fallback, allowed=tuple(allowed))
    assert set(uses) == {*(spec.name for spec in SPECS), ANY_OTHER}
    for name, use in uses.items():
        narrowed = name == SPECS[0].name and bool(allowed) and name not in allowed
        instead = preferred[0] if preferred and (fallback or narrowed) else ""
        assert use.granted == (name if name in usable else instead)
        assert use.granted == name or use.reason


def test_what_an_agent_reads() -> None:
    fetched = Access(name="org/small", status="downloadable")
    data = Access(name="org/texts", kind="dataset", status="ready")
    assert available([GATED, fetched, READY[2], data]) == (
        "- org/big: cannot be used (gated): it is gated. What a person can do: accept the licence.\n"
        "- org/small: can be used (fetched before the run starts)\n"
        "- embedded: can be used"
    )
    assert available([GATED, fetched, READY[2]], ("embedded", "org/big")) == (
        "- org/big: cannot be used (gated): it is gated. What a person can do: accept the licence.\n"
        "- org/small: not for this idea\n"
        "- embedded: can be used"
    )
