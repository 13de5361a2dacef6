"""What is on this machine already, whole or in part, and what fits it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from asking import (
    ABSENT,
    GATED,
    GIB,
    SMALL,
    WHOLE,
    ask,
    cache,
    every,
)
from hub_stand_in import Hub

from agent_runner.models import Asset, Machine, assess
from agent_runner.records import ModelSpec

INDEX = json.dumps(
    {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
)
SHARDS = {
    "config.json": "{}",
    "model.safetensors.index.json": INDEX,
    "model-1-of-2.safetensors": "1",
    "model-2-of-2.safetensors": "2",
}


def without(files: Mapping[str, str], name: str) -> dict[str, str]:
    return {path: text for path, text in files.items() if path != name}


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (WHOLE, None),
        (SHARDS, None),
        ({"config.json": "{}", "pytorch_model.bin": "weights"}, None),
        (without(WHOLE, "config.json"), "config.json is missing"),
        (without(WHOLE, "model.safetensors"), "it has no weights"),
        (WHOLE | {"model.safetensors": ""}, "it has no weights"),
        (without(SHARDS, "model-2-of-2.safetensors"), "model-2-of-2.safetensors is missing"),
        (without(SHARDS, "model.safetensors.index.json"), "it has no weights"),
        (SHARDS | {"model.safetensors.index.json": "{"}, "index.json cannot be read"),
        (SHARDS | {"model.safetensors.index.json": "[]"}, "index.json cannot be read"),
        (SHARDS | {"model.safetensors.index.json": '{"weight_map": {"a": 3}}'}, "cannot be read"),
        (SHARDS | {"model.safetensors.index.json": '{"weight_map": {}}'}, "is missing"),
    ],
)
def test_half_a_download_is_not_a_model(
    files: dict[str, str], problem: str | None, machine: Machine, tmp_path: Path
) -> None:
    offline = dataclasses.replace(machine, offline=True)
    cache(offline, SMALL, files)
    access = ask(offline, SMALL, memo=tmp_path / "memo.json")
    assert access.status == ("ready" if problem is None else "not_cached")
    assert (problem or "") in access.reason
    assert access.revision == ("abc" if problem is None else None)


@pytest.mark.parametrize("files", [WHOLE, SHARDS])
def test_a_content_on_its_way_counts_only_where_something_is_missing(
    files: dict[str, str], machine: Machine, tmp_path: Path
) -> None:
    """A file that runs do not need, or one that a dead process has left, makes no whole model incomplete."""
    offline = dataclasses.replace(machine, offline=True)
    folder = cache(offline, SMALL, files)
    (folder / "blobs" / "0123.4567.incomplete").write_text("half of an unrelated file")
    assert ask(offline, SMALL, memo=tmp_path / "memo.json").status == "ready"
    weights = next(name for name in sorted(files) if name.endswith(".safetensors"))
    (folder / "snapshots" / "abc" / weights).unlink()
    access = ask(offline, SMALL, memo=tmp_path / "memo.json")
    assert (access.status, "was not finished" in access.reason) == ("not_cached", True)


def test_a_data_set_is_whole_by_the_hubs_list_or_else_where_nothing_is_on_its_way(
    machine: Machine, tmp_path: Path
) -> None:
    offline = dataclasses.replace(machine, offline=True)
    folder = offline.hub_cache / "datasets--org--texts"
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc" / "a.parquet").write_text("data")
    (folder / "blobs").mkdir()
    pending = folder / "blobs" / "0123.4567.incomplete"
    pending.write_text("half")

    def status() -> str:
        return ask(offline, "org/texts", kind="dataset", memo=tmp_path / "memo.json").status

    assert status() == "not_cached", "nobody knows whether it is one of the files"
    (folder / "blobs" / "0123").write_text("whole, fetched by another process later")
    assert status() == "ready"
    (folder / "blobs" / "0123").unlink()
    tree = folder / "trees" / "abc.json"
    tree.parent.mkdir()
    tree.write_text('{"files": ["a.parquet"]}')
    assert status() == "ready", "all that the hub lists is here"
    tree.write_text('{"files": ["a.parquet", "b.parquet"]}')
    assert status() == "not_cached"
    tree.write_text("[")
    assert status() == "not_cached", "a list that cannot be read is none"


@pytest.mark.parametrize("ref", ["other", "../../elsewhere", ""])
def test_main_that_points_nowhere(ref: str, machine: Machine, tmp_path: Path) -> None:
    offline = dataclasses.replace(machine, offline=True)
    cache(offline, SMALL, WHOLE, ref=ref)
    assert ask(offline, SMALL, memo=tmp_path / "memo.json").status == "not_cached"


def test_a_cache_that_cannot_be_read(machine: Machine, tmp_path: Path) -> None:
    offline = dataclasses.replace(machine, offline=True)
    main = cache(offline, SMALL, WHOLE) / "refs" / "main"
    main.unlink()
    main.symlink_to(main)
    access = ask(offline, SMALL, memo=tmp_path / "memo.json")
    assert access.status == "not_cached"
    assert access.reason.startswith(
        "what is in the cache of it cannot be read (Too many levels of symbolic links)"
    )


def test_offline_nobody_is_asked(hub: Hub, machine: Machine, tmp_path: Path) -> None:
    offline = dataclasses.replace(machine, offline=True)
    access = ask(offline, SMALL, memo=tmp_path / "memo.json")
    assert access.status == "not_cached"
    assert access.reason == f"{ABSENT}, and the hub is not to be asked (offline)"
    assert access.remedy == (
        "fetch it on a machine with network: `hf download org/small`, or unset HF_HUB_OFFLINE"
    )
    data = ask(offline, "org/texts", kind="dataset", memo=tmp_path / "memo.json")
    assert "`hf download org/texts --repo-type dataset`" in data.remedy
    assert hub.requests == []


@pytest.mark.parametrize("fault", [{"status": 500}, {"silent": True}, {"status": 401}])
def test_what_is_here_stays_ready_whatever_the_hub_does(
    fault: dict[str, object], hub: Hub, machine: Machine, tmp_path: Path
) -> None:
    cache(machine, SMALL, WHOLE)
    hub.faults = [every(**fault)]
    access = ask(machine, SMALL, memo=tmp_path / "memo.json", deadline_s=0.5)
    assert (access.status, access.revision) == ("ready", "abc")


def test_a_gated_model_that_is_here_is_ready_and_says_so(machine: Machine, tmp_path: Path) -> None:
    cache(machine, GATED, WHOLE)
    access = ask(machine, GATED, memo=tmp_path / "memo.json")
    assert access.status == "ready"
    assert access.reason == (
        "on this machine already; the hub would refuse it now: "
        "it is gated: its licence has to be accepted, and there is no token"
    )
    member = dataclasses.replace(machine, token="hf_member")
    access = ask(member, GATED, memo=tmp_path / "memo.json")
    assert (access.status, access.reason) == ("ready", "it is gated, and on this machine already")


# ------------------------------------------------------------------------------ what fits


def test_downloads_that_are_not_allowed(machine: Machine, tmp_path: Path) -> None:
    machine = dataclasses.replace(machine, downloads=False)
    access = ask(machine, SMALL, memo=tmp_path / "memo.json")
    assert access.status == "not_cached"
    assert access.reason == f"{ABSENT}, and downloads are not allowed"
    assert access.remedy.endswith("`hf download org/small`, or allow downloads")
    assert (access.download_bytes, access.revision is None) == (300_044, False)


def test_a_disk_too_small_for_the_download(machine: Machine, tmp_path: Path) -> None:
    machine = dataclasses.replace(machine, free_disk_bytes=2**20)
    access = ask(machine, SMALL, memo=tmp_path / "memo.json")
    assert access.status == "no_disk"
    assert access.reason.startswith("293 KiB would have to be fetched, and 1 MiB of disk are free")


GEMMA = ModelSpec(name=SMALL, dtype="bfloat16", parameters=2_614_341_888)


def test_weights_that_do_not_fit_are_never_loaded(machine: Machine, tmp_path: Path) -> None:
    machine = dataclasses.replace(machine, free_memory_bytes=4 * GIB)
    for present in (False, True):
        if present:
            cache(machine, SMALL, WHOLE)
        access = ask(machine, SMALL, memo=tmp_path / "memo.json", specs=[GEMMA])
        assert access.status == "too_large"
        assert access.reason == (
            "it needs about 7.3 GiB of memory (2.6 billion weights in bfloat16), "
            "and 4.0 GiB are free"
        )
        assert access.memory_bytes == int(2_614_341_888 * 2 * 1.5)


def test_a_batch_of_activations_counts(machine: Machine, tmp_path: Path) -> None:
    spec = ModelSpec(
        name=SMALL, parameters=70_000_000, batch_size=512, context_length=128, d_model=512
    )
    needed = 70_000_000 * 4 * 3 // 2 + 512 * 128 * 512 * 16 * 4
    for spare, status in ((0, "downloadable"), (-1, "too_large")):
        fitted = dataclasses.replace(machine, free_memory_bytes=needed + spare)
        access = ask(fitted, SMALL, memo=tmp_path / "memo.json", specs=[spec])
        assert (access.status, access.memory_bytes) == (status, needed)
    assert "a batch of 512 x 128 tokens" in access.reason
    smaller = spec.model_copy(update={"cpu": {"batch_size": 8, "training_tokens": 5}})
    on_cpu = ask(fitted, SMALL, memo=tmp_path / "memo.json", specs=[smaller])
    assert on_cpu.status == "downloadable", "the settings for a CPU hold where there is no GPU"


def test_with_a_gpu_its_memory_counts(machine: Machine, tmp_path: Path) -> None:
    machine = dataclasses.replace(machine, free_memory_bytes=GIB, gpu_free_bytes=8 * GIB)
    assert ask(machine, SMALL, memo=tmp_path / "m", specs=[GEMMA]).status == "downloadable"
    machine = dataclasses.replace(machine, free_memory_bytes=99 * GIB, gpu_free_bytes=2 * GIB)
    access = ask(machine, SMALL, memo=tmp_path / "m", specs=[GEMMA])
    assert access.status == "too_large"
    assert "7.3 GiB of GPU memory" in access.reason


def test_a_model_that_nobody_describes_is_measured_by_the_hub(
    hub: Hub, machine: Machine, tmp_path: Path
) -> None:
    hub.repositories[SMALL].parameters = 10**10
    access = ask(machine, SMALL, memo=tmp_path / "memo.json", specs=[])
    assert (access.status, access.memory_bytes) == ("downloadable", 6 * 10**10)
    machine = dataclasses.replace(machine, free_memory_bytes=4 * GIB)
    access = ask(machine, SMALL, memo=tmp_path / "memo.json", specs=[])
    assert (access.status, "10.0 billion weights" in access.reason) == ("too_large", True)


def test_a_model_for_gpus_only(hub: Hub, machine: Machine, tmp_path: Path) -> None:
    spec = ModelSpec(name=GATED, parameters=1000, needs_gpu=True)
    access = ask(machine, GATED, memo=tmp_path / "memo.json", specs=[spec])
    assert access.status == "needs_gpu"
    assert access.reason == (
        "it is run on a GPU only, and there is none here; besides, "
        "it is gated: its licence has to be accepted, and there is no token"
    )
    assert "accept the licence" in access.remedy
    with_gpu = dataclasses.replace(machine, gpu_free_bytes=GIB, token="hf_member")
    assert ask(with_gpu, GATED, memo=tmp_path / "memo.json", specs=[spec]).status == "downloadable"
    gone = ModelSpec(name="org/nothing", needs_gpu=True)
    assert ask(machine, "org/nothing", memo=tmp_path / "m", specs=[gone]).status == "not_found"


def test_a_shipped_model_is_not_asked_for(
    hub: Hub, machine: Machine, template: Path, tmp_path: Path
) -> None:
    specs = [
        ModelSpec(name="embedded", path="model", parameters=10**6),
        ModelSpec(name="lost", path="nothing"),
        ModelSpec(name="vast", path="model", parameters=10**12),
    ]
    assets = [Asset("model", spec.name) for spec in specs]
    (template / "org" / "folder").mkdir(parents=True)
    assets += [Asset("dataset", "org/folder", "experiment.py", 3)]
    found = assess(assets, specs, template, machine, tmp_path / "memo.json")
    assert [access.status for access in found] == ["ready", "not_found", "too_large", "ready"]
    assert found[1].reason == "its folder nothing is missing from the template"
    assert found[3].reason == "it is a folder of the template"
    assert hub.requests == []
