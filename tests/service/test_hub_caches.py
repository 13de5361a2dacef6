"""The caches of a job that downloads: the user's own seen through them, and never changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent_runner.errors import ExecutorError
from agent_runner.service.hub_caches import HubCaches, lay_out

COMMIT, NEWER = "a" * 40, "b" * 40


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """The user's folder, with a whole model, half of another one, and a data set."""
    folder = tmp_path / "user"
    model = repository(folder / "hub" / "models--org--whole", COMMIT, "config.json")
    write(model / "snapshots" / COMMIT / "model.safetensors", "weights")
    repository(folder / "hub" / "models--org--half", COMMIT, "tokenizer.json")
    data = repository(folder / "hub" / "datasets--org--news", COMMIT, "data/train.parquet")
    write(data / "blobs" / "123.incomplete", "half")
    write(folder / "datasets" / "org___news" / "train.arrow", "arrow")
    write(folder / "datasets" / "org___news_builder.lock", "")
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def repository(folder: Path, commit: str, name: str) -> Path:
    """As the hub's client makes it: a snapshot's file is a relative link to its content."""
    write(folder / "blobs" / f"of {name.replace('/', ' ')}", name)
    write(folder / "refs" / "main", commit)
    file = folder / "snapshots" / commit / name
    file.parent.mkdir(parents=True)
    file.symlink_to(os.path.relpath(folder / "blobs" / f"of {name.replace('/', ' ')}", file.parent))
    return folder


def again(user: Path, folder: Path, *, shut_in: bool = True) -> HubCaches:
    users = {"HF_HUB_CACHE": str(user / "hub"), "HF_DATASETS_CACHE": str(user / "datasets")}
    return lay_out(users, folder, shut_in=shut_in)


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    found = {}
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (path.lstat().st_mtime_ns, content)
    return found


def test_what_the_user_has_is_seen(user: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    before = state(user)
    caches = again(user, own)
    assert caches.environment == {
        "HF_HUB_CACHE": str(own / "hub"),
        "HF_DATASETS_CACHE": str(own / "datasets"),
    }
    assert caches.read == (user / "hub", user / "datasets")
    assert (own / "hub" / "models--org--whole").readlink() == user / "hub" / "models--org--whole"
    for name, file in (("models--org--half", "tokenizer.json"), ("datasets--org--news", "data")):
        assert not (own / "hub" / name).is_symlink()
        assert not (own / "hub" / name / "snapshots" / COMMIT).is_symlink()
        assert (own / "hub" / name / "snapshots" / COMMIT / file).exists()
        assert (own / "hub" / name / "refs" / "main").read_text() == COMMIT
    assert (own / "datasets" / "org___news" / "train.arrow").read_text() == "arrow"
    assert not [path for path in own.rglob("*") if path.suffix in (".lock", ".incomplete")]
    once = {str(path) for path in own.rglob("*")}
    assert again(user, own) == caches and {str(path) for path in own.rglob("*")} == once
    assert state(user) == before


def test_what_a_job_writes_does_not_reach_the_user(user: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    again(user, own)
    before = state(user)
    data = own / "hub" / "datasets--org--news"
    (data / "refs" / "main").write_text(NEWER)
    write(data / "snapshots" / NEWER / "data" / "train.parquet", "newer")
    write(data / "snapshots" / COMMIT / "data" / "test.parquet", "more")
    write(own / "datasets" / "org___news" / "test.arrow", "more")
    assert state(user) == before
    again(user, own)
    assert (data / "refs" / "main").read_text() == NEWER, "it was downloaded, and is there"
    assert (data / "snapshots" / COMMIT / "data" / "test.parquet").read_text() == "more"
    assert (own / "datasets" / "org___news" / "test.arrow").read_text() == "more"
    assert state(user) == before


def test_what_the_user_no_longer_has_is_gone(user: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    again(user, own)
    (user / "datasets" / "org___news" / "train.arrow").unlink()
    data = user / "hub" / "datasets--org--news"
    (data / "refs" / "main").write_text(NEWER)
    (data / "snapshots" / COMMIT).rename(data / "snapshots" / NEWER)
    again(user, own)
    assert list((own / "datasets").iterdir()) == []
    copied = own / "hub" / data.name
    assert (copied / "refs" / "main").read_text() == NEWER
    assert [path.name for path in (copied / "snapshots").iterdir()] == [NEWER]


@pytest.mark.parametrize("shut_in", [True, False])
def test_a_model_that_is_fetched_for_runs_takes_the_place_of_the_jobs_own(
    shut_in: bool, user: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    downloaded = own / "hub" / "models--org--whole"
    repository(downloaded, NEWER, "config.json")
    again(user, own, shut_in=shut_in)
    assert (downloaded / "refs" / "main").read_text() == COMMIT
    assert not (downloaded / "snapshots" / NEWER).exists()
    assert (downloaded / "snapshots" / COMMIT / "config.json").read_text() == "config.json"


def test_where_a_job_is_not_shut_in_a_model_is_no_link_through_which_it_could_be_changed(
    user: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    again(user, own, shut_in=False)
    before = state(user)
    model = own / "hub" / "models--org--whole"
    (model / "refs" / "main").write_text(NEWER)
    write(model / "snapshots" / NEWER / "config.json", "newer")
    assert state(user) == before
    again(user, own)
    assert model.is_symlink() and state(user) == before


def test_links_that_a_job_has_made_are_not_followed(user: Path, tmp_path: Path) -> None:
    own, elsewhere = tmp_path / "own", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (own / "hub" / "datasets--org--news").mkdir(parents=True)
    (own / "datasets").symlink_to(elsewhere)
    planted = own / "hub" / "datasets--org--news"
    (planted / "blobs").symlink_to("../../../elsewhere")
    write(elsewhere / "main", "kept")
    (planted / "refs").mkdir()
    (planted / "refs" / "main").symlink_to("../../../../elsewhere/main")
    (own / "hub" / "models--org--whole").symlink_to("../../elsewhere")
    again(user, own)
    assert [path.name for path in elsewhere.iterdir()] == ["main"]
    assert (elsewhere / "main").read_text() == "kept"
    assert (planted / "refs" / "main").read_text() == COMMIT
    assert (own / "hub" / "models--org--whole" / "refs" / "main").read_text() == COMMIT
    assert (own / "datasets" / "org___news" / "train.arrow").exists()


@pytest.mark.parametrize("place", ["own", "own/hub", "."])
def test_a_user_with_the_very_same_caches_loses_nothing(
    place: str, user: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    user.rename(own)
    kept = {path for path in own.rglob("*") if path.is_file()}
    lay_out({"HF_HUB_CACHE": str(tmp_path / place)}, own, shut_in=True)
    assert {path for path in own.rglob("*") if path.is_file()} == kept


def test_a_user_without_caches(tmp_path: Path) -> None:
    users = {"HF_HUB_CACHE": str(tmp_path / "none")}
    caches = lay_out(users, tmp_path / "own", shut_in=True)
    assert caches.read == () and Path(caches.environment["HF_HUB_CACHE"]).is_dir()


def test_caches_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match="cannot be made"):
        lay_out({}, tmp_path / "no" / "such" / "folder", shut_in=True)
