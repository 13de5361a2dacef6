"""The arguments that build the file system of a sandbox: made once, in order, at real places."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runner.execution.bubblewrap import Mounts

NAMES = st.sampled_from(["a", "b", "c", "é", "a b"])
PATHS = st.lists(NAMES, min_size=1, max_size=5).map(lambda parts: "/none/" + "/".join(parts))


def operations(mounts: Mounts) -> Iterator[tuple[str, str]]:
    """(what, where) of the arguments, in order."""
    rest = iter(mounts.arguments)
    for option in rest:
        if option == "--perms":
            next(rest)
            option = next(rest)
        if option in ("--ro-bind", "--bind", "--symlink"):
            next(rest)
        yield option, next(rest)


def above(path: str) -> list[str]:
    return [str(parent) for parent in Path(path).parents if str(parent) != "/"]


@given(st.lists(PATHS, max_size=12))
def test_shown_paths_are_mounted_once_below_folders_made_once(paths: list[str]) -> None:
    mounts = Mounts()
    mounts.show(paths)
    mounts.show(paths)
    made: list[str] = []
    mounted: list[str] = []
    for option, place in operations(mounts):
        assert place not in made and place not in mounted
        assert not set(above(place)) & set(mounted), "inside what is seen already"
        # only the first folder may stand in a place that nobody made
        assert set(above(place)) <= set(made)
        (made if option == "--dir" else mounted).append(place)
    for path in paths:
        assert {path, *above(path)} & set(mounted) and mounts.covers(path)


@settings(max_examples=50)
@given(st.lists(PATHS, max_size=6), st.lists(PATHS, max_size=6), st.lists(PATHS, max_size=3))
def test_the_last_word_on_every_place_is_the_wanted_one(
    shown: list[str], writable: list[str], hidden: list[str]
) -> None:
    mounts = Mounts()
    mounts.show(shown)
    gone = [folder for folder in hidden if mounts.hide(folder)]
    for path in writable:
        mounts.bind(path)
    last: dict[str, str] = {}
    for option, place in operations(mounts):
        for covered in [old for old in last if place in above(old)]:
            assert option != "--dir", "a folder would be made over what is mounted"
            del last[covered]
        last[place] = option
    for path in writable:
        # a later bind of a folder above brings the path along, writable as well
        deepest = next(place for place in (path, *above(path)) if place in last)
        assert last[deepest] == "--bind" or any(p in writable for p in above(path))
    for folder in gone:
        if not {folder, *above(folder)} & ({*writable} | ({*gone} - {folder})):
            assert last[folder] == "--tmpfs"


@given(st.lists(PATHS, min_size=1, max_size=6), st.data())
def test_whether_a_place_is_covered(paths: list[str], data: st.DataObject) -> None:
    mounts = Mounts()
    for path in paths:
        mounts.add("--bind", path, at=path)
    path = data.draw(st.sampled_from(paths))
    assert mounts.covers(path) and mounts.covers(f"{path}/x/y")
    assert not mounts.covers("/none") and not mounts.covers("/")
    mounts.forget(path)
    assert not mounts.covers(path) and not mounts.covers(f"{path}/x")


def test_links_are_made_again_one_by_one(tmp_path: Path) -> None:
    real = tmp_path / "real" / "deep"
    real.mkdir(parents=True)
    (tmp_path / "third").symlink_to("real")
    (tmp_path / "second").symlink_to(tmp_path / "third" / "..")
    (tmp_path / "first").symlink_to("second/third/deep")
    mounts = Mounts()
    mounts.show([str(tmp_path / "first")])
    found = list(operations(mounts))
    assert [place for option, place in found if option == "--ro-bind"] == [str(real)]
    links = {place for option, place in found if option == "--symlink"}
    assert links == {str(tmp_path / name) for name in ("first", "second", "third")}
    assert mounts.follow(str(tmp_path / "second" / "third" / "deep" / "x")) == f"{real}/x"
    before = list(mounts.arguments)
    mounts.show([str(tmp_path / "third" / "deep")])
    assert mounts.arguments == before


def test_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="too many links"):
        Mounts().show([str(tmp_path / "a")])


def test_no_link_is_made_inside_what_is_mounted(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to("../target")
    mounts = Mounts()
    mounts.show([str(tmp_path / "folder"), str(tmp_path / "folder" / "link")])
    assert "--symlink" not in mounts.arguments
    assert mounts.covers(str(tmp_path / "target"))
