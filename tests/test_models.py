from __future__ import annotations

from pathlib import Path

import pytest

from agent_runner.models import ANY_OTHER, Machine, grant, hub_cache, obstacles
from agent_runner.records import ModelSpec

BIG = ModelSpec(name="org/big", dtype="bfloat16", parameters=2_600_000_000)
SMALL = ModelSpec(name="org/small", parameters=70_000_000)
SHIPPED = ModelSpec(name="embedded", path="model", parameters=2_000_000)
GIB = 2**30


@pytest.fixture
def template(tmp_path: Path) -> Path:
    (tmp_path / "template" / "model").mkdir(parents=True)
    (tmp_path / "template" / "model" / "config.json").write_text("{}")
    return tmp_path / "template"


def cached(cache: Path, name: str, *, weights: bool = True) -> None:
    snapshot = cache / f"models--{name.replace('/', '--')}" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    if weights:
        (snapshot / "model.safetensors").write_bytes(b"")


def machine(cache: Path, free: int | None = 64 * GIB) -> Machine:
    return Machine(cache, free)


def test_without_a_cache_everything_becomes_the_shipped_model(
    template: Path, tmp_path: Path
) -> None:
    grants = grant([BIG, SMALL, SHIPPED], template, machine(tmp_path / "none"))
    assert {name: use.granted for name, use in grants.items()} == {
        "org/big": "embedded",
        "org/small": "embedded",
        "embedded": "embedded",
        ANY_OTHER: "embedded",
    }
    assert "not in this machine's model cache" in grants["org/big"].reason
    assert grants["embedded"].reason == ""


def test_a_cached_model_that_fits_is_granted(template: Path, tmp_path: Path) -> None:
    cached(tmp_path, "org/big")
    grants = grant([BIG, SMALL, SHIPPED], template, machine(tmp_path))
    assert grants["org/big"].granted == "org/big"
    assert grants["org/small"].granted == "org/big", "the order of preference decides"


def test_a_model_larger_than_free_memory_is_never_loaded(template: Path, tmp_path: Path) -> None:
    cached(tmp_path, "org/big")
    cached(tmp_path, "org/small")
    grants = grant([BIG, SMALL, SHIPPED], template, machine(tmp_path, free=4 * GIB))
    assert grants["org/big"].granted == "org/small"
    assert "7.3 GiB" in grants["org/big"].reason
    assert "4.0 GiB are free" in grants["org/big"].reason


def test_half_a_download_is_not_a_model(template: Path, tmp_path: Path) -> None:
    cached(tmp_path, "org/small", weights=False)
    assert grant([SMALL, SHIPPED], template, machine(tmp_path))["org/small"].granted == "embedded"


def test_nothing_usable_is_said_with_reasons(template: Path, tmp_path: Path) -> None:
    assert grant([BIG], template, machine(tmp_path)) == {}
    assert set(obstacles([BIG], template, machine(tmp_path))) == {"org/big"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HF_HUB_CACHE": "/a"}, "/a"),
        ({"HF_HOME": "/b"}, "/b/hub"),
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
    ],
)
def test_the_cache_is_where_the_hub_client_keeps_it(
    environment: dict[str, str], expected: str
) -> None:
    assert hub_cache(environment) == Path(expected)
